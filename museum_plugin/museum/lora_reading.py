"""LoRA files of any origin, read as pairs of down and up by kohya key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from museum_plugin.base.weight_file import WeightFile, read_weight_file
from museum_plugin.errors import BaseModelError, ConfigError
from museum_plugin.museum.lora_names import ALPHA, DOWN, UP, Place, other_kind, place_of, split_name
from museum_plugin.museum.shape import LayerShape

_EMBEDDINGS = re.compile(r"bundle_emb\.([^.]+)|text_encoders\.(.*)\.embeddings\.token_embedding\.")
"""Tokens that a file brings along: bundled by name, or as a patch on the table of a text encoder."""
_OF_MUSEUMS = ("bundle_emb_slots.", "text_encoders.diff")
"""Tensors of a museum file that are no part of its LoRA."""
_IN_FOLDER = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin")
_PEFT_CONFIG = "adapter_config.json"
_DIFFUSERS_CONFIG = "lora_adapter_metadata"
"""Key of the header under which diffusers keeps what peft keeps beside the file."""
_PARTS = ("unet", "text_encoder", "text_encoder_2")

Config = Mapping[str, Any]
"""peft's settings of one part of a model."""


@dataclass(frozen=True, eq=False)
class Factors:
    """One module's weight change, alpha / rank * up @ down."""

    up: Tensor
    """(out, rank) float32."""
    down: Tensor
    """(rank, in) float32, a convolution's kernel flattened."""
    alpha: float

    @property
    def shape(self) -> LayerShape:
        """Rank and alpha."""
        return LayerShape(self.down.shape[0], self.alpha)

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.down.shape[0]


@dataclass(frozen=True, eq=False)
class LoraFile:
    """What a LoRA file holds."""

    path: Path
    factors: dict[str, Factors]
    """By kohya key."""
    metadata: Mapping[str, str]
    embeddings: tuple[str, ...] = ()
    """Names of the tokens in it, which are no part of a LoRA."""


def read_lora(path: Path, flag: str, text_parts: Sequence[str] = ("te",)) -> dict[str, Factors]:
    """The modules of a LoRA file; see `read_lora_file`."""
    return read_lora_file(path, flag, text_parts).factors


def read_lora_file(path: Path, flag: str, text_parts: Sequence[str] = ("te",)) -> LoraFile:
    """Read a LoRA in the spelling of kohya, LyCORIS, peft, diffusers or ComfyUI.

    Where a tensor gives no alpha, the settings of peft and diffusers do; else alpha is the rank, as in sd-scripts.

    Args:
        path: a file, or a folder that peft or diffusers wrote.
        flag: that named the file, for messages.
        text_parts: kohya's names of the base's text encoders, which other spellings do not tell.
    Raises:
        ConfigError: no such file, damaged, not finite, or not a LoRA of plain pairs of down and up.
    """
    path = _file_in(path, flag)
    try:
        found = read_weight_file(path)
    except BaseModelError as error:
        raise ConfigError(f"{flag}: {error}") from error
    configs = _configs(found)
    parts: dict[str, dict[str, Tensor]] = {}
    places: dict[str, Place] = {}
    embeddings = dict.fromkeys(token[1] or token[2] for name in found.tensors if (token := _EMBEDDINGS.match(name)))
    for name, tensor in found.tensors.items():
        if name.startswith(_OF_MUSEUMS) or _EMBEDDINGS.match(name):
            continue
        module, kind = _split(name, path, flag)
        if not torch.isfinite(tensor).all():
            raise ConfigError(f"{flag}: {path}: tensor {name} holds values that are not finite; the file is damaged")
        place = place_of(module, text_parts)
        places[place.key] = place
        if parts.setdefault(place.key, {}).setdefault(kind, tensor.float()).shape != tensor.shape:
            raise ConfigError(f"{flag}: {path}: module {place.key} stands there twice")
    whole = {key for key, given in parts.items() if {DOWN, UP} <= set(given)}
    if not whole or len(whole) < len(parts):
        reason = f"{min(set(parts) - whole)} is not whole" if parts else "it holds no LoRA"
        raise ConfigError(f"{flag}: {path}: {reason}")
    told = {key: _told_alpha(configs, places[key], len(given[DOWN])) for key, given in parts.items()}
    factors = {key: _factors(given, told[key]) for key, given in parts.items()}
    for key, each in factors.items():
        if each.up.shape[1] != each.down.shape[0]:
            raise ConfigError(f"{flag}: {path}: {key}: up has rank {each.up.shape[1]}, down {each.down.shape[0]}")
    return LoraFile(path, factors, found.metadata, tuple(embeddings))


def _file_in(path: Path, flag: str) -> Path:
    if path.is_dir():
        inside = [path / name for name in _IN_FOLDER if (path / name).is_file()]
        if not inside:
            raise ConfigError(f"{flag}: {path}: a folder without {_IN_FOLDER[0]} or {_IN_FOLDER[1]}")
        return inside[0]
    if not path.is_file():
        raise ConfigError(f'{flag}: no file "{path}"')
    return path


def _split(name: str, path: Path, flag: str) -> tuple[str, str]:
    kind = other_kind(name)
    if kind is not None:
        raise ConfigError(f"{flag}: {path}: this is no plain LoRA: tensor {name} is of {kind}, which cannot be read")
    found = split_name(name)
    if found is None:
        raise ConfigError(f"{flag}: {path}: found tensor {name}, allowed: a LoRA of lora_down, lora_up and alpha")
    return found


def _factors(parts: Mapping[str, Tensor], told_alpha: float | None) -> Factors:
    down, up = parts[DOWN].flatten(1), parts[UP].flatten(1)
    alpha = parts[ALPHA].item() if ALPHA in parts else told_alpha or 0.0
    return Factors(up, down, alpha or float(len(down)))


def _configs(found: WeightFile) -> dict[str, Config]:
    """peft's settings, by part of the model; under "" those of all parts."""
    beside = found.path.with_name(_PEFT_CONFIG)
    text = found.metadata.get(_DIFFUSERS_CONFIG)
    if text is None and found.path.name in _IN_FOLDER and beside.is_file():
        text = beside.read_text(encoding="utf-8", errors="replace")
    try:
        given = json.loads(text) if text is not None else {}
    except ValueError:
        given = {}
    configs: dict[str, dict[str, Any]] = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        part, _, inside = name.partition(".")
        part, inside = (part, inside) if part in _PARTS else ("", name)
        configs.setdefault(part, {})[inside] = value
    return dict(configs)


def _told_alpha(configs: Mapping[str, Config], place: Place, rank: int) -> float | None:
    """What peft's settings say of a module; the scale of rslora is alpha / sqrt(rank) (arXiv:2312.03732)."""
    config = configs.get(place.part) or configs.get("")
    if not config or not place.part:
        return None
    alpha = config.get("lora_alpha")
    patterns = config.get("alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if re.match(rf"(.*\.)?({pattern})$", place.path):
            alpha = value
            break
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        return None
    return float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)
