"""A museum, or a room of it, for one or several clients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.base.family import FAMILIES
from museum_plugin.errors import ConfigError, MuseumFileError, OutputError
from museum_plugin.export.cards import card_json, card_text
from museum_plugin.export.clients import CLIENTS, IN_FILE, Verdict, verdict_lines, verdicts
from museum_plugin.export.folder import Parts, write_folder
from museum_plugin.export.outline import Outline
from museum_plugin.export.plain_words import PlainWords, with_layers
from museum_plugin.export.preview import preview_bytes
from museum_plugin.export.room import check_triggers, room_name, room_of
from museum_plugin.export.targets import Target
from museum_plugin.export.tensors import CLIP_VOCABULARY, INVOKE_KEY, bundled, sidecar, table_patch, with_even_alphas
from museum_plugin.museum.file import MuseumContent, in_precision, packed_tensors, serialised, slots_key
from museum_plugin.museum.metadata import PLAIN_KEY, file_metadata, without_ledger

log = logging.getLogger("museum")
_WAY_OUT = (
    "publish fewer styles with --styles, or leave the ledger out with --no_metadata; or --for {other}; or --force"
)


@dataclass(frozen=True)
class Order:
    """What is to be published."""

    museum: Path
    """The file that the content was read from."""
    targets: tuple[Target, ...]
    output_dir: Path
    """Gets a folder NAME-TARGET for each target."""
    styles: tuple[str, ...] = ()
    """A room of these; () means all."""
    room: str | None = None
    """The output name; None: the museum's, with the styles of a room."""
    precision: str = "fp16"
    """float | fp16 | bf16, of everything but alphas."""
    with_ledger: bool = True
    """Without it the file is a plain LoRA with triggers: no ledger, no packed slots, no strings of the user's own."""
    preview: Path | None = None
    force: bool = False
    """Write what a client would refuse, and over files of others."""
    plain_words: Callable[[Sequence[str]], PlainWords] | None = None
    """Teaches the text encoders the words of these styles; called only for a target that wants it."""


@dataclass(frozen=True)
class Published:
    """What was written for one client."""

    target: Target
    folder: Path
    files: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    """What each client does with the LoRA file; none where there is none."""


def publish(content: MuseumContent, order: Order) -> list[Published]:
    """Write one folder for each target; all are checked before the first is written.

    Raises:
        MuseumFileError: no style, an unknown style, or a trigger that cannot be typed; the base's own rows are missing.
        ConfigError: a name that cannot be typed.
        OutputError: a client would refuse its file, or nothing can be written; what was there is untouched.
    """
    room = room_of(content, order.styles, order.museum.stem)
    check_triggers(order.museum, room.ledger.styles)
    name = room_name(order.museum, order.room, order.styles)
    preview = preview_bytes(order.preview, order.museum, content.ledger)
    plain = _plain_words(room, order)
    plans = [_plan(room, name, target, order, plain) for target in order.targets]
    for plan in plans:
        _refuse(plan, force=order.force)
    done = []
    for plan in plans:
        folder = order.output_dir / f"{name}-{plan.target.name}"
        files = _files(room, plan, folder, order, preview)
        write_folder(folder, files, force=order.force)
        done.append(Published(plan.target, folder, tuple(sorted(files)), plan.verdicts))
    return done


@dataclass(frozen=True, eq=False)
class _Plan:
    """What one target gets, before anything is converted."""

    target: Target
    name: str
    tensors: dict[str, Tensor]
    """Of the LoRA file; none: there is no such file."""
    metadata: dict[str, str]
    verdicts: tuple[Verdict, ...]
    has_slots: bool = False
    """Whether any style has a trigger of its own; an imported one has not."""


def _plain_words(room: MuseumContent, order: Order) -> PlainWords | None:
    if not any(target.with_plain_words for target in order.targets):
        return None
    styles = [record.name for record in room.ledger.styles if record.words]
    if not styles:
        raise MuseumFileError(f"{order.museum}: no style has a slot, so its words work as they are: --for diffusers")
    if order.plain_words is None:
        raise ConfigError("--for plain: needs the base model")
    return order.plain_words(styles)


def _plan(room: MuseumContent, name: str, target: Target, order: Order, plain: PlainWords | None) -> _Plan:
    if not target.with_lora:
        return _Plan(target, name, {}, {}, ())
    with_store = target.with_store and order.with_ledger
    tensors = lora_tensors(room, target, with_store=with_store)
    metadata = file_metadata(room.ledger, name, room.metadata)
    if not with_store:  # a ledger without its slots would be a damaged museum
        metadata = without_ledger(metadata)
    if target.with_plain_words and plain is not None:
        tensors = with_layers(tensors, plain.tensors)
        metadata[PLAIN_KEY] = f"{plain.reached:.2f}"
    if "diffusers" in target.clients:
        tensors = with_even_alphas(tensors)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    phrases = tuple(slots_by_phrase(room))
    outline = Outline(name, shapes, metadata, () if target.with_plain_words else phrases)
    return _Plan(target, name, tensors, metadata, verdicts(outline), bool(phrases))


def lora_tensors(room: MuseumContent, target: Target, *, with_store: bool) -> dict[str, Tensor]:
    """All tensors of a LoRA file for a target, float32.

    Args:
        with_store: also the packed slots, with which the file stays a museum.
    Raises:
        MuseumFileError: a patch of the embedding table needs the base's own rows, and they are missing or do not fit.
    """
    tensors = packed_tensors(room)
    if not with_store:
        for encoder in FAMILIES[room.ledger.base.family].slot_encoders:
            tensors.pop(slots_key(encoder), None)
    if target.with_bundle:
        tensors |= bundled(slots_by_phrase(room))
    if target.with_table:
        tensors |= _table_patches(room)
    if target.for_invoke and room.ledger.base.family != "sdxl":
        tensors[INVOKE_KEY] = torch.zeros(1, 1)
    return tensors


def slots_by_phrase(room: MuseumContent) -> dict[str, dict[str, Tensor]]:
    """Phrase -> encoder -> (n, d), of every style with a trigger."""
    return {record.trigger: room.slots[record.name] for record in room.ledger.styles if record.words}


def _table_patches(room: MuseumContent) -> dict[str, Tensor]:
    records = [record for record in room.ledger.styles if record.words]
    if not records:
        return {}
    missing = [record.name for record in records if record.name not in room.base_rows]
    if missing:
        raise MuseumFileError(
            f"style {missing[0]!r}: the base's own embedding of its trigger is not in the museum file"
        )
    ids = [token for record in records for token in record.token_ids]
    if max(ids) >= CLIP_VOCABULARY:
        raise MuseumFileError(
            f"token {max(ids)} of a trigger is none of CLIP's own {CLIP_VOCABULARY}, so ComfyUI cannot take it from a "
            "LoRA file; publish side-cars: --for sidecars"
        )
    found: dict[str, Tensor] = {}
    for encoder in FAMILIES[room.ledger.base.family].slot_encoders:
        learned = torch.cat([room.slots[record.name][encoder] for record in records])
        base = torch.cat([room.base_rows[record.name][encoder] for record in records])
        found |= table_patch(encoder, ids, learned, base)
    return found


def _refuse(plan: _Plan, *, force: bool) -> None:
    """Refuse what a client of the target would refuse, or where a trigger that was promised would not work."""
    in_file = {"comfyui": plan.target.with_table, "a1111": plan.target.with_bundle, "sdnext": plan.target.with_bundle}
    promised = in_file if plan.has_slots else {}
    for verdict in plan.verdicts:
        if verdict.client not in plan.target.clients:
            continue
        silent = promised.get(verdict.client, False) and verdict.triggers != IN_FILE
        if verdict.loads and not silent:
            continue
        title, reasons = CLIENTS[verdict.client].title, "; ".join(verdict.reasons)
        what = "triggers would not all work" if verdict.loads else "the file would be refused"
        message = f"{plan.name}-{plan.target.name}: in {title} {what}: {reasons}"
        if not force:
            other = "forge" if plan.target.name != "forge" else "sidecars"
            raise OutputError(f"{message}; nothing was written: {_WAY_OUT.format(other=other)}")
        log.warning("%s; written all the same, as told", message)


def _files(room: MuseumContent, plan: _Plan, folder: Path, order: Order, preview: bytes | None) -> dict[str, Parts]:
    name, target, precision, museum = plan.name, plan.target, order.precision, order.museum
    files: dict[str, Parts] = {}
    if plan.tensors:
        lora = folder / f"{name}.safetensors"
        files[lora.name] = serialised(lora, in_precision(lora, plan.tensors, precision), plan.metadata)
    if target.with_sidecars:
        for phrase, vectors in slots_by_phrase(room).items():
            path = folder / "embeddings" / f"{phrase}.safetensors"
            files[f"embeddings/{path.name}"] = _sidecar_file(path, vectors, precision)
    description = plan.metadata.get("modelspec.description", "")
    files[f"{name}.json"] = [card_json(room.ledger, name, description)]
    called = name if target.with_lora else museum.stem  # side-cars go with the museum file itself
    files[f"{name}.txt"] = [card_text(room.ledger, called, target, verdict_lines(plan.verdicts))]
    if preview is not None:
        files[f"{name}.png"] = [preview]
    return files


def _sidecar_file(path: Path, vectors: Mapping[str, Tensor], precision: str) -> Parts:
    return serialised(path, in_precision(path, sidecar(vectors), precision), {})
