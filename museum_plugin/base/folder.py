"""What a base model's folder tells without loading its networks, which takes seconds and gigabytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from museum_plugin.base.family import SDXL, Family, detect_family
from museum_plugin.base.layout import SUPPORTED
from museum_plugin.base.light_import import import_diffusers
from museum_plugin.errors import BaseModelError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import nn
    from transformers import CLIPTokenizer

    from museum_plugin.base.single_file import SketchedParts

PREDICTION_TYPES = ("epsilon", "v_prediction")
_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_WEIGHTS = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
"""Of the parts that a fingerprint is made of, in its order."""
TEXT_LEVEL = "text_model."
"""A level of the text encoder's names, which transformers 5.6 dropped: files may still have it."""
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
    check_folder(path)
    family = family_of(path)
    if family is SDXL:
        raise sdxl_error(path)
    scheduler = _config(path / "scheduler" / "scheduler_config.json")
    prediction_type = scheduler.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise BaseModelError(f"prediction type {prediction_type!r} of the base model is not supported")
    text = _config(path / "text_encoder" / "config.json")
    width, states = text.get("hidden_size"), _config(path / "unet" / "config.json").get("cross_attention_dim")
    if width is not None and states is not None and width != states:
        raise mixed_parts_error(path, states, width)
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(path / "tokenizer")
    except Exception as error:
        raise loading_error(path, error) from error
    return BaseOutline(
        path=path,
        name=path.resolve().name,
        family=family,
        prediction_type=prediction_type,
        timesteps=int(scheduler.get("num_train_timesteps", 1000)),
        text_layers=int(text.get("num_hidden_layers", 12)),
        tokenizers=(tokenizer,),
    )


def empty_networks(base: BaseOutline) -> EmptyNetworks:
    """What LoRA layers could be put on.

    Raises:
        BaseModelError: a configuration makes no network.
    """
    if base.sketch is not None:
        sketch = base.sketch
        return EmptyNetworks(base.family, sketch.unet.network, (sketch.text_encoder.network,), sketch.vae.network)
    import_diffusers()
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base.path / "unet"))
            text_encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(base.path / "text_encoder"))
            vae = AutoencoderKL.from_config(AutoencoderKL.load_config(base.path / "vae"))
    except Exception as error:
        raise loading_error(base.path, error) from error
    return EmptyNetworks(base.family, unet, (text_encoder,), vae)


def folder_fingerprint(path: Path) -> str | None:
    """The fingerprint that `load_base` finds in this folder; of the weights, only the sampled values are read.

    None where the weights are not in safetensors files of the usual names.

    Raises:
        BaseModelError: a weight file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    from museum_plugin.base.load import tensor_sample

    files = [path / name for name in _WEIGHTS]
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


def check_folder(path: Path) -> None:
    """Refuse what is no diffusers folder.

    Raises:
        BaseModelError: says what is there or missing.
    """
    if not path.exists():
        raise BaseModelError(
            f"{path}: no base model there; pretrained_model_name_or_path takes a checkpoint or a diffusers folder"
        )
    missing = [part for part in _PARTS if not (path / part).is_dir()]
    if missing or not (path / "unet" / "config.json").is_file():
        raise BaseModelError(f"{path}: not a diffusers folder: {', '.join(missing) or 'unet/config.json'} is missing")


def family_of(path: Path) -> Family:
    """The family of the model in a folder.

    Raises:
        BaseModelError: the U-Net's configuration cannot be read.
    """
    return detect_family(_config(path / "unet" / "config.json"))


def sdxl_error(path: Path) -> BaseModelError:
    """What is said of an SDXL model."""
    return BaseModelError(f"{path}: this is an SDXL model; {SUPPORTED}")


def mixed_parts_error(path: Path, states: int, width: int) -> BaseModelError:
    """What is said where the U-Net takes text states of another width than the text encoder gives."""
    return BaseModelError(
        f"{path}: U-Net and text encoder do not belong together: the U-Net takes text states of width "
        f"{states}, the text encoder gives {width}"
    )


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
