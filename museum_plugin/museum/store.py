"""From file to museum and back: what must agree before a museum may be trained on a base."""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from museum_plugin.base.family import FAMILIES
from museum_plugin.base.load import BaseModel
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.slots import Slot, Slots

log = logging.getLogger("museum")


def new_museum(
    base: BaseModel,
    *,
    rank: int,
    alpha: float,
    seed: int,
    with_text_encoder: bool,
    shapes: Mapping[str, LayerShape] | None = None,
    museum_id: str | None = None,
) -> Museum:
    """An empty museum: it changes nothing yet.

    Args:
        shapes: exactly the layers to make; without it every module of the transformers has rank and alpha.
        museum_id: by which it is known; None makes one by chance.
    """
    network = LoRANetwork(base, rank=rank, alpha=alpha, seed=seed, with_text_encoder=with_text_encoder, shapes=shapes)
    ledger = Ledger(
        museum_id=museum_id or uuid.uuid4().hex,
        base=BaseRecord(
            fingerprint=base.fingerprint,
            family=base.family.name,
            prediction_type=base.prediction_type,
            name=base.name,
        ),
        network=network_record(network),
        styles=(),
    )
    return Museum(base, network, Slots(base), ledger)


def network_record(network: LoRANetwork) -> NetworkRecord:
    """The shape of a LoRA."""
    shapes = {key: (layer.down.shape[0], layer.alpha) for key, layer in network.layers.items()}
    return NetworkRecord(
        rank=network.rank,
        alpha=network.alpha,
        targets=tuple(sorted(shapes)),
        ranks={key: rank for key, (rank, _) in sorted(shapes.items()) if rank != network.rank},
        alphas={key: alpha for key, (_, alpha) in sorted(shapes.items()) if alpha != network.alpha},
    )


def open_museum(path: Path, base: BaseModel) -> Museum:
    """The museum of a file on its base, exactly as it was saved.

    Raises:
        MuseumFileError: the file cannot be read, belongs to another base, or its tensors do not fit it.
    """
    return museum_of(read_museum(path), base, path)


def museum_of(content: MuseumContent, base: BaseModel, path: Path) -> Museum:
    """The museum with this content on its base.

    Args:
        path: the file that messages name.
    Raises:
        MuseumFileError: it belongs to another base, or its tensors do not fit it.
    """
    ledger = content.ledger
    check_base(path, ledger, name=base.name, fingerprint=base.fingerprint)
    text_keys = tuple(f"lora_{part}_" for part in base.family.text_parts)
    network = LoRANetwork(
        base,
        rank=ledger.network.rank,
        alpha=ledger.network.alpha,
        seed=0,
        with_text_encoder=any(key.startswith(text_keys) for key in ledger.network.targets),
        shapes={key: LayerShape(*ledger.network.shape(key)) for key in ledger.network.targets},
    )
    if sorted(network.layers) != sorted(ledger.network.targets):
        raise MuseumFileError(f"{path}: its LoRA has other target modules than this version puts on {base.name!r}")
    _check_shapes(path, network, content)
    network.load_tensors(content.lora)
    slots = Slots(base)
    for record in (record for record in ledger.styles if record.words):
        vectors, kept = content.slots[record.name], content.base_rows.get(record.name)
        slots.add(
            Slot(
                style=record.name,
                words=tuple(record.words),
                token_ids=tuple(record.token_ids),
                vectors=tuple(vectors[name].to(base.device) for name in base.family.slot_encoders),
            ),
            tuple(kept[name] for name in base.family.slot_encoders) if kept else None,
        )
    return Museum(base, network, slots, ledger, content.metadata)


def check_base(path: Path, ledger: Ledger, *, name: str, fingerprint: str) -> None:
    """Refuse to go on with a museum on another base model.

    Raises:
        MuseumFileError: names both.
    """
    if ledger.base.fingerprint != fingerprint:
        raise MuseumFileError(
            f"{path}: this museum was taught on base model {ledger.base.name!r} ({ledger.base.family}), not on "
            f"{name!r}; give that one as pretrained_model_name_or_path, or start another museum"
        )


def _check_shapes(path: Path, network: LoRANetwork, content: MuseumContent) -> None:
    for name, tensor in network.tensors().items():
        found = content.lora[name].shape
        if found.numel() != tensor.numel():
            raise MuseumFileError(
                f"{path}: tensor {name}: found shape {tuple(found)}, the base model needs {tuple(tensor.shape)}; "
                "the file is damaged: restore a backup"
            )


def check_network(
    ledger: Ledger,
    path: Path,
    *,
    rank: int,
    alpha: float,
    with_text_encoder: bool,
    shapes: Mapping[str, LayerShape] | None = None,
) -> None:
    """Refuse to go on with a museum under another shape.

    Args:
        shapes: the layers that the run asks for; None asks for nothing beyond the others.
    Raises:
        MuseumFileError: rank, alpha or targets differ; says how to go on.
    """
    network = ledger.network
    for flag, found, asked in (("network_dim", network.rank, rank), ("network_alpha", network.alpha, alpha)):
        if found != asked:
            raise MuseumFileError(f"{path}: this museum has {flag} {found:g}, not {asked:g}; give {found:g}")
    text_keys = tuple(f"lora_{part}_" for part in FAMILIES[ledger.base.family].text_parts)
    has_text = any(key.startswith(text_keys) for key in network.targets)
    if has_text != with_text_encoder and not (has_text and network.shaped_by):
        state = "trains" if has_text else "does not train"
        raise MuseumFileError(f"{path}: this museum {state} the text encoder; text_encoder_lr must agree")
    difference = _first_difference(network, shapes) if shapes is not None else None
    if difference is not None and network.shaped_by:
        log.info("%s: %s; its layers are those of its %s, and stay so", path, difference, network.shaped_by)
    elif difference is not None:
        raise MuseumFileError(f"{path}: {difference}; {_way_to_agree(ledger)}")


def _first_difference(network: NetworkRecord, shapes: Mapping[str, LayerShape]) -> str | None:
    """Where the layers asked for are not those of a museum, in words."""
    has = set(network.targets)
    more, fewer = sorted(set(shapes) - has), sorted(has - set(shapes))
    if fewer:
        return f"this museum has {len(fewer)} layers that this run does not ask for, such as {fewer[0]}"
    if more:
        return f"this run asks for {len(more)} layers that this museum does not have, such as {more[0]}"
    for key in network.targets:
        rank, alpha = network.shape(key)
        if (rank, alpha) != shapes[key]:
            asked = shapes[key]
            return f"{key} has rank {rank}, alpha {alpha:g}, not rank {asked.rank}, alpha {asked.alpha:g}"
    return None


def _way_to_agree(ledger: Ledger) -> str:
    styles = ledger.styles
    told = styles[0].settings.get("network_args") if styles else None
    if not told:
        return "give no network_args that change its layers"
    return "give the network_args it was begun with: " + " ".join(f"{name}={_text(v)}" for name, v in told.items())


def _text(value: object) -> str:
    return ",".join(f"{item:g}" for item in value) if isinstance(value, list) else str(value)


def content_of(museum: Museum) -> MuseumContent:
    """What is written to the file: only closed slots that the ledger knows."""
    encoders = museum.base.family.slot_encoders

    def named(vectors: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {name: vector.detach().cpu().float() for name, vector in zip(encoders, vectors, strict=True)}

    styles = [record.name for record in museum.ledger.styles if record.words]
    slots = {name: named(museum.slots.slots[name].vectors) for name in styles}
    base_rows = {name: named(museum.slots.base_rows[name]) for name in styles}
    lora = {name: tensor.detach().cpu().float() for name, tensor in museum.network.tensors().items()}
    return MuseumContent(lora, slots, replace(museum.ledger), museum.metadata, base_rows)


def museum_file_bytes(museum: Museum, name: str) -> bytes:
    """The museum as a file called `name`; empty where it holds nothing, since any run can begin it again."""
    if not museum.styles() and not museum.ledger.network.shaped_by:
        return b""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.safetensors"
        write_museum(path, content_of(museum), keep_history=0)
        return path.read_bytes()
