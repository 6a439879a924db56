"""The museum file: one safetensors file that every WebUI loads as a LoRA, and that holds all a next style needs.

lora_*.lora_down.weight, .lora_up.weight, .alpha    the shared LoRA, float32
bundle_emb_slots.<encoder>.dora_scale               the slots of all styles, stacked in ledger order, and below them
                                                    the base's own embeddings of the same words
metadata: museum                                    the ledger, JSON
metadata: ss_*, sshs_*, modelspec.*                 what WebUIs read
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from museum_plugin.base.family import FAMILIES
from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import MuseumFileError, OutputError, TrainingError
from museum_plugin.museum.history import history, replace_file
from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.metadata import LEDGER_KEY, extra_metadata, file_metadata, model_hashes, without_ledger

HEADER_LIMIT = 2**20
"""Bytes; ComfyUI's viewer reads no longer header."""

_EXPORTED = ("bundle_emb.", "text_encoders.")
"""Copies of the slots that a published file carries besides."""


@dataclass(frozen=True, eq=False)
class MuseumContent:
    """All that a museum file holds."""

    lora: dict[str, Tensor]
    """Full kohya name -> tensor; three for each target of the ledger."""
    slots: dict[str, dict[str, Tensor]]
    """Style -> encoder ("clip_l", "clip_h", "clip_g") -> (n, d), one row for each of the style's words;
    imported styles have none."""
    ledger: Ledger
    metadata: dict[str, str] = field(default_factory=dict)
    """More strings of the header; what follows from the ledger is not among them."""
    base_rows: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """As `slots`: the base's own embeddings of the words; of all styles, or {} where an earlier Museum kept none."""


@dataclass(frozen=True)
class FileForm:
    """In which form a museum is written; by default whole, so that it can grow."""

    precision: str = "float"
    """float | fp16 | bf16."""
    with_ledger: bool = True
    """Without it the file is a LoRA as any other: no ledger, no strings of the user's own."""


WHOLE = FileForm()
_DTYPES = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def slots_key(encoder: str) -> str:
    """Name of the tensor that holds the slots of all styles for one text encoder, and the base's own rows."""
    return f"bundle_emb_slots.{encoder}.dora_scale"


def write_museum(path: Path, content: MuseumContent, *, keep_history: int | None, form: FileForm = WHOLE) -> None:
    """Write a museum file; equal content gives equal bytes.

    Args:
        path: its folder is created; a museum that is there goes to its history.
        content: tensors of any float type and device; stored in the precision of the form, alphas as float32.
        keep_history: how many earlier versions stay; None keeps all.
    Raises:
        TrainingError: a value is not finite; names the tensor.
        OutputError: nothing can be written, or the header grows too long; the earlier file is untouched.
        ValueError: tensors and ledger do not agree.
    """
    path = Path(path)
    whole = packed_tensors(content)
    tensors = in_precision(path, whole, form.precision)
    try:
        _split(whole, content.ledger)
    except MuseumFileError as error:
        raise ValueError(f"not a whole museum: {error}") from error
    metadata = file_metadata(content.ledger, path.stem, content.metadata)
    if not form.with_ledger:
        metadata = without_ledger(metadata)
    replace_file(path, serialised(path, tensors, metadata), keep_history=keep_history)


def read_museum(path: Path) -> MuseumContent:
    """Read a museum file and check that it is whole.

    Returns:
        float32 tensors on the CPU, in memory of their own.
    Raises:
        MuseumFileError: missing, damaged, without a ledger, too new, or with tensors that are not those of its ledger.
    """
    path = Path(path)
    with _opened(path) as file:
        metadata = file.metadata()
        ledger = _ledger(path, metadata)
        tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in file.keys()}  # noqa: SIM118
    try:
        lora, slots, base_rows = _split(tensors, ledger)
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise MuseumFileError(f"tensor {name} holds values that are not finite")
    except MuseumFileError as error:
        raise MuseumFileError(f"{path}: {error}; {_way_back(path) or 'restore a backup'}") from error
    return MuseumContent(lora, slots, ledger, extra_metadata(metadata, ledger), base_rows)


def read_ledger(path: Path) -> Ledger:
    """The ledger of a museum file, without its tensors.

    Raises:
        MuseumFileError: missing, damaged, without a ledger, or too new.
    """
    path = Path(path)
    with _opened(path) as file:
        return _ledger(path, file.metadata())


def packed_tensors(content: MuseumContent) -> dict[str, Tensor]:
    """All tensors of the file by name; float32, contiguous, on the CPU, none sharing memory with another.

    Raises:
        ValueError: slots and ledger do not agree.
    """
    stacked = _stacked(content.slots, content.ledger)
    if content.base_rows:
        below = _stacked(content.base_rows, content.ledger)
        stacked = {name: torch.cat([rows, below[name]]) for name, rows in stacked.items()}
    return {
        name: tensor.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
        for name, tensor in {**content.lora, **stacked}.items()
    }


def in_precision(path: Path, tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Tensors as a file stores them: float | fp16 | bf16, alphas always in float32.

    Raises:
        TrainingError: a value is not finite, perhaps only in this precision; names the tensor.
    """
    dtype = _DTYPES[precision]
    stored = {name: tensor if name.endswith(".alpha") else tensor.to(dtype) for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        if not torch.isfinite(tensor).all():
            raise TrainingError(f"{path}: not written: tensor {name} holds values that are not finite")
    return stored


def _stacked(slots: Mapping[str, Mapping[str, Tensor]], ledger: Ledger) -> dict[str, Tensor]:
    """The rows of all styles in ledger order: one (sum of words, d) tensor for each encoder."""
    records = [record for record in ledger.styles if record.words]
    unknown = set(slots) - {record.name for record in ledger.styles}
    if unknown:
        raise ValueError(f"not a whole museum: slots of styles that are not in its ledger: {sorted(unknown)}")
    stacked = {}
    for encoder in sorted({encoder for slot in slots.values() for encoder in slot}):
        rows: list[Tensor] = []
        for record in records:
            row = slots.get(record.name, {}).get(encoder)
            if row is None or row.shape[:-1] != (len(record.words),) or (rows and row.shape[1:] != rows[0].shape[1:]):
                found = None if row is None else tuple(row.shape)
                raise ValueError(
                    f"not a whole museum: slot of style {record.name!r} for {encoder}: found shape {found}, "
                    f"its ledger says {len(record.words)} rows, of one width for all styles"
                )
            rows.append(row.detach())
        if rows:
            stacked[slots_key(encoder)] = torch.cat(rows)
    return stacked


Rows = dict[str, dict[str, Tensor]]


def _split(tensors: Mapping[str, Tensor], ledger: Ledger) -> tuple[dict[str, Tensor], Rows, Rows]:
    """LoRA, slots and the base's own rows of a file, every name and shape checked against the ledger."""
    if ledger.base.family not in FAMILIES:
        raise MuseumFileError(f"base family: found {ledger.base.family!r}, allowed: {', '.join(FAMILIES)}")
    lora_names = {name for target in ledger.network.targets for name in tensor_names(target)}
    rows = sum(len(record.words) for record in ledger.styles)
    packed = {encoder: slots_key(encoder) for encoder in FAMILIES[ledger.base.family].slot_encoders if rows}
    expected = lora_names.union(packed.values())
    found = {name for name in tensors if not name.startswith(_EXPORTED)}
    for kind, names in (("missing", expected - found), ("not in its ledger", found - expected)):
        if names:
            raise MuseumFileError(f"{len(names)} tensors are {kind}, such as {min(names)}")
    for target in ledger.network.targets:
        _check_layer(tensors, ledger, target)
    for name in packed.values():
        if tensors[name].ndim != 2 or len(tensors[name]) not in (rows, 2 * rows):
            raise MuseumFileError(
                f"tensor {name}: found shape {tuple(tensors[name].shape)}, its ledger says {rows} rows"
            )
    slots, base_rows, start = Rows(), Rows(), 0
    with_rows = all(len(tensors[name]) == 2 * rows for name in packed.values()) and bool(packed)
    for record in (record for record in ledger.styles if record.words):
        end = start + len(record.words)
        slots[record.name] = {encoder: tensors[name][start:end] for encoder, name in packed.items()}
        if with_rows:
            below = slice(rows + start, rows + end)
            base_rows[record.name] = {encoder: tensors[name][below] for encoder, name in packed.items()}
        start = end
    return {name: tensors[name] for name in sorted(lora_names)}, slots, base_rows


def _check_layer(tensors: Mapping[str, Tensor], ledger: Ledger, target: str) -> None:
    rank, expected = ledger.network.shape(target)
    down, up, alpha = (tensors[name] for name in tensor_names(target))
    if down.ndim < 2 or up.ndim < 2 or down.shape[0] != rank or up.shape[1] != rank:
        shapes = f"down {tuple(down.shape)}, up {tuple(up.shape)}"
        raise MuseumFileError(f"{target}: found {shapes}, its ledger says rank {rank}")
    if alpha.numel() != 1 or alpha.item() != torch.tensor(expected, dtype=torch.float32).item():
        raise MuseumFileError(f"{target}: found alpha {alpha.tolist()}, its ledger says {expected}")


def serialised(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> list[bytes | memoryview]:
    """The bytes of a file; the header is ours, because safetensors writes metadata in random order.

    Raises:
        OutputError: the header grows too long.
    """
    blob = save(tensors, {key: text for key, text in metadata.items() if key.startswith("ss_")})
    length = int.from_bytes(blob[:8], "little")
    entries = {name: entry for name, entry in json.loads(blob[8 : 8 + length]).items() if name != "__metadata__"}
    all_metadata = {**metadata, **model_hashes(blob)}
    header = json.dumps({"__metadata__": all_metadata, **entries}, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) >= HEADER_LIMIT:
        longest = max(all_metadata, key=lambda key: len(all_metadata[key]))
        raise OutputError(
            f"{path}: not written: its header would take {len(header)} bytes, allowed: less than {HEADER_LIMIT}; "
            f"the longest string is {longest!r} ({len(all_metadata[longest])} characters)"
        )
    return [len(header).to_bytes(8, "little"), header, memoryview(blob)[8 + length :]]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, or the reason why it cannot be read."""
    if not os.path.exists(path):
        near = did_you_mean(path.name, [entry.name for entry in path.parent.glob("*.safetensors")])
        raise MuseumFileError(f"{path}: no such file{near}; {_way_back(path) or 'check the path'}")
    if not path.is_file():
        raise MuseumFileError(f"{path}: not a file; give the path of a museum file")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        way_back = _way_back(path) or "restore a backup"
        raise MuseumFileError(f"{path}: {_damage(path)} ({error}); {way_back}") from error
    except OSError as error:
        raise MuseumFileError(f"{path}: cannot be read: {error.strerror or error}; check its permissions") from error


def _damage(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    looks_right = start[8:] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000
    return "cut short or damaged" if looks_right else "not a safetensors file"


def _ledger(path: Path, metadata: Mapping[str, str] | None) -> Ledger:
    if not metadata or LEDGER_KEY not in metadata:
        advice = _way_back(path) or "give the file of a museum, or a new path to begin one"
        raise MuseumFileError(f"{path}: a plain LoRA or other model without a museum ledger; {advice}")
    try:
        return Ledger.from_json(metadata[LEDGER_KEY])
    except MuseumFileError as error:
        way_back = _way_back(path)
        raise MuseumFileError(f"{path}: {error}" + (f"; {way_back}" if way_back else "")) from error


def _way_back(path: Path) -> str:
    """Names `rollback` if it could help."""
    whole = [version for version in history(path) if version.style_count is not None]
    return f"bring back one of {len(whole)} earlier versions: python -m museum_plugin rollback {path}" if whole else ""
