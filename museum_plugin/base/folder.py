"""What a base model's folder tells without loading its networks, which takes seconds and gigabytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from museum_plugin.base.clip_tokenizer import check_tokenizers, read_tokenizer
from museum_plugin.base.family import SD1, Family, detect_family
from museum_plugin.base.layout import SUPPORTED, channels_error
from museum_plugin.base.light_import import import_diffusers
from museum_plugin.base.text_encoders import TEXT_LEVEL, check_widths, encoder_class
from museum_plugin.errors import BaseModelError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import nn
    from transformers import CLIPTokenizer

    from museum_plugin.base.single_file import SketchedParts

PREDICTION_TYPES = ("epsilon", "v_prediction")
_UNET_WEIGHTS, _TEXT_WEIGHTS = "diffusion_pytorch_model.safetensors", "model.safetensors"
_CHANNELS = 4
NOT_KEPT = "position_ids"
"""Written by older software, no part of the model."""


@dataclass(frozen=True)
class BaseOutline:
    """A base model as far as its small files, or the names and shapes in its checkpoint file, tell."""

    path: Path
    name: str
    family: Family
    prediction_type: str
    timesteps: int
    """Of its noise schedule."""
    text_layers: int
    """Layers of the smallest text encoder."""
    tokenizers: tuple[CLIPTokenizer, ...]
    sketch: SketchedParts | None = None
    """Of a checkpoint file."""


@dataclass(frozen=True)
class EmptyNetworks:
    """The networks of a base model with all their modules, but without numbers and without memory."""

    family: Family
    unet: nn.Module
    text_encoders: tuple[nn.Module, ...]
    vae: AutoencoderKL


def read_base_folder(path: Path) -> BaseOutline:
    """Read configurations and tokenizer.

    Raises:
        BaseModelError: what `load_base` refuses, as far as it shows here.
    """
    family = check_folder(path)
    scheduler = _config(path / "scheduler" / "scheduler_config.json")
    prediction_type = scheduler.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise BaseModelError(f"prediction type {prediction_type!r} of the base model is not supported")
    texts = [_config(path / folder / "config.json") for folder in family.text_folders]
    check_widths(path, _config(path / "unet" / "config.json"), texts)
    return BaseOutline(
        path=path,
        name=path.resolve().name,
        family=family,
        prediction_type=prediction_type,
        timesteps=int(scheduler.get("num_train_timesteps", 1000)),
        text_layers=min(int(text.get("num_hidden_layers", 12)) for text in texts),
        tokenizers=folder_tokenizers(path, family),
    )


def empty_networks(base: BaseOutline) -> EmptyNetworks:
    """What LoRA layers could be put on.

    Raises:
        BaseModelError: a configuration makes no network.
    """
    if base.sketch is not None:
        sketch = base.sketch
        texts = tuple(text.network for text in sketch.text_encoders)
        return EmptyNetworks(base.family, sketch.unet.network, texts, sketch.vae.network)
    import_diffusers()
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig

    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base.path / "unet"))
            texts = tuple(
                encoder_class(i)(CLIPTextConfig.from_pretrained(base.path / folder))
                for i, folder in enumerate(base.family.text_folders)
            )
            vae = AutoencoderKL.from_config(AutoencoderKL.load_config(base.path / "vae"))
    except Exception as error:
        raise loading_error(base.path, error) from error
    return EmptyNetworks(base.family, unet, texts, vae)


def folder_tokenizers(path: Path, family: Family) -> tuple[CLIPTokenizer, ...]:
    """The tokenizers of a diffusers folder.

    Raises:
        BaseModelError: one cannot be read, or they do not belong together.
    """
    forced = (None, *family.paddings[1:])
    folders = family.tokenizer_folders
    tokenizers = tuple(read_tokenizer(path / name, padding) for name, padding in zip(folders, forced, strict=True))
    check_tokenizers(path, tokenizers)
    return tokenizers


def folder_fingerprint(path: Path) -> str | None:
    """The fingerprint that `load_base` finds in this folder; of the weights, only the sampled values are read.

    None where the weights are not in safetensors files of the usual names.

    Raises:
        BaseModelError: a weight file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    from museum_plugin.base.load import tensor_sample

    texts = family_of(path).text_folders
    files = [path / "unet" / _UNET_WEIGHTS, *(path / text / _TEXT_WEIGHTS for text in texts)]
    if not all(file.is_file() for file in files):
        return None
    digest = hashlib.sha256()
    try:
        for file in files:
            with safe_open(file, "pt") as weights:
                for name in sorted(weights.keys()):
                    if not name.endswith(NOT_KEPT):
                        digest.update(tensor_sample(name.removeprefix(TEXT_LEVEL), weights.get_tensor(name)))
    except (SafetensorError, OSError) as error:
        raise loading_error(path, error) from error
    return digest.hexdigest()


def check_folder(path: Path) -> Family:
    """Refuse what is no diffusers folder of a model that can be trained; returns the family.

    Raises:
        BaseModelError: says what is there or missing.
    """
    if not path.exists():
        raise BaseModelError(
            f"{path}: no base model there; pretrained_model_name_or_path takes a checkpoint or a diffusers folder"
        )
    has_unet = (path / "unet" / "config.json").is_file()
    family = family_of(path) if has_unet else SD1
    parts = ("unet", "vae", *family.text_folders, *family.tokenizer_folders, "scheduler")
    missing = [part for part in parts if not (path / part).is_dir()]
    if "text_encoder" in missing and "text_encoder_2" in parts and "text_encoder_2" not in missing:
        raise BaseModelError(f"{path}: this is the refiner of SDXL; {SUPPORTED}")
    if missing or not has_unet:
        raise BaseModelError(f"{path}: not a diffusers folder: {', '.join(missing) or 'unet/config.json'} is missing")
    channels = _config(path / "unet" / "config.json").get("in_channels", _CHANNELS)
    if channels != _CHANNELS:
        raise channels_error(path, channels)
    return family


def family_of(path: Path) -> Family:
    """The family of the model in a folder.

    Raises:
        BaseModelError: the U-Net's configuration cannot be read.
    """
    return detect_family(_config(path / "unet" / "config.json"))


def loading_error(path: Path, error: Exception) -> BaseModelError:
    """What is said where a library refuses a part of the model."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return BaseModelError(f"{path}: the base model cannot be loaded: {reason}. Is the folder complete?")


def _config(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a table")
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{file}: cannot be read ({error}); is the base model complete?") from error
    return content
