"""Another program's LoRA as the first content of a museum: the same change of every weight, to float32."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor, nn

from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord
from museum_plugin.museum.lora import Networks, target_modules
from museum_plugin.museum.lora_file import check_widths, commonest, fitting
from museum_plugin.museum.lora_reading import Factors, LoraFile
from museum_plugin.museum.metadata import LEDGER_KEY

FLAG = "import"
"""What messages name."""
METHOD = "import"
"""In the record of an imported style, where others have the method they were taught with."""
_KEPT = ("modelspec.author", "modelspec.license", "modelspec.tags")
"""Strings of the file that stay true of the museum."""


@dataclass(frozen=True)
class NamedStyle:
    """The style that a LoRA was trained in."""

    name: str
    trigger: str
    """The phrase it was trained with."""
    base_path: Path
    """Where the base model is, for the commands that draw."""


def imported_content(
    file: LoraFile,
    base: BaseRecord,
    networks: Networks,
    museum_id: str,
    style: NamedStyle | None,
    *,
    partly: bool = False,
) -> MuseumContent:
    """A museum that changes its base as the LoRA does.

    A style that is named gets a record without a slot: its trigger's words keep the base's embeddings, and while
    further styles are taught the museum draws pictures with that trigger and is held to them.

    Args:
        networks: of the base; their numbers are not read.
        partly: leave out modules that a museum has no place for, instead of refusing them.
    Raises:
        ConfigError: the file is a museum already, nothing of it fits, or something does not.
    """
    if LEDGER_KEY in file.metadata:
        raise ConfigError(f"{FLAG}: {file.path}: this is a museum already; teach it as it is, or copy it")
    if file.embeddings and not partly:
        raise ConfigError(
            f"{FLAG}: {file.path}: it brings learned tokens along, such as {file.embeddings[0]}, "
            "which have no place in a museum; --partly leaves them out, and what they do is lost"
        )
    modules = dict(target_modules(networks, with_text_encoder=True, with_convolutions=True))
    check_widths(file.factors, modules, file.path, FLAG)
    strange = sorted(set(file.factors) - set(modules))
    if strange and len(strange) < len(file.factors) and not partly:
        raise ConfigError(
            f"{FLAG}: {file.path}: {len(strange)} of its {len(file.factors)} modules have no place in a museum, such "
            f"as {strange[0]}; --partly leaves them out, and what they do is lost"
        )
    factors = fitting(file.factors, modules, file.path, FLAG)
    usual = commonest(each.shape for each in factors.values())
    shapes = {key: each.shape for key, each in sorted(factors.items())}
    network = NetworkRecord(
        rank=usual.rank,
        alpha=usual.alpha,
        targets=tuple(shapes),
        ranks={key: shape.rank for key, shape in shapes.items() if shape.rank != usual.rank},
        alphas={key: shape.alpha for key, shape in shapes.items() if shape.alpha != usual.alpha},
        shaped_by="import",
    )
    styles = () if style is None else (_record(file, style, base),)
    kept = {key: file.metadata[key] for key in _KEPT if key in file.metadata}
    return MuseumContent(_tensors(factors, modules), {}, Ledger(museum_id, base, network, styles), kept)


def _tensors(factors: Mapping[str, Factors], modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Under kohya's names, kernels in their own shape again."""
    named = {}
    for key, each in factors.items():
        kernel = tuple(modules[key].weight.shape[2:])
        named[f"{key}.lora_down.weight"] = each.down.view(len(each.down), -1, *kernel)
        named[f"{key}.lora_up.weight"] = each.up.view(*each.up.shape, *(1 for _ in kernel))
        named[f"{key}.alpha"] = each.down.new_tensor(each.alpha)
    return named


def _record(file: LoraFile, style: NamedStyle, base: BaseRecord) -> StyleRecord:
    with file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    told = {"file": file.path.name, "sha256": digest}
    return StyleRecord(
        name=style.name,
        trigger=style.trigger,
        words=(),
        token_ids=(),
        taught_at=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=_whole(file.metadata.get("ss_steps")),
        pictures=_whole(file.metadata.get("ss_num_train_images")),
        data_fingerprint=digest,
        method=METHOD,
        weights={},
        settings={
            "pretrained_model_name_or_path": str(style.base_path),
            "v_parameterization": base.prediction_type == "v_prediction",
        },
        extra={"imported": told},
    )


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
