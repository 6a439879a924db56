"""--vae: another VAE in the place of the base's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from museum_plugin.base.family import Family
from museum_plugin.base.layout import family_facts
from museum_plugin.base.single_file import convert_vae
from museum_plugin.base.weight_file import read_weight_file
from museum_plugin.errors import BaseModelError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_TAKEN = "vae takes a file that holds a VAE (.safetensors, .ckpt, .pt), or a diffusers folder"


def read_vae(path: Path, own: AutoencoderKL, family: Family) -> AutoencoderKL:
    """A VAE from a file in the original layout, or from a diffusers folder (its own, or a whole model's), in float32.

    Args:
        own: the base's VAE, whose latents the U-Net knows.
        family: of the base; a file does not say how its latents are scaled.
    Raises:
        BaseModelError: not there, damaged, no VAE, or its latents are of another form than `own`'s.
    """
    found = _from_folder(path) if path.is_dir() else _from_file(path, family)
    for what, size, wanted in (
        ("channels", found.config.latent_channels, own.config.latent_channels),
        ("halvings of a picture", len(found.config.block_out_channels) - 1, len(own.config.block_out_channels) - 1),
    ):
        if size != wanted:
            raise BaseModelError(f"{path}: this VAE is of another kind: its latents have {size} {what}, not {wanted}")
    return found


def _from_folder(path: Path) -> AutoencoderKL:
    from diffusers import AutoencoderKL

    place = path / "vae" if (path / "vae" / "config.json").is_file() else path
    if not (place / "config.json").is_file():
        raise BaseModelError(f"{path}: no VAE there, config.json is missing; {_TAKEN}")
    try:
        name = AutoencoderKL.load_config(place).get("_class_name")
        if name != "AutoencoderKL":
            raise BaseModelError(f"{path}: no VAE of the right kind: found {name}, needed AutoencoderKL")
        return AutoencoderKL.from_pretrained(place, torch_dtype=torch.float32)
    except BaseModelError:
        raise
    except Exception as error:  # the library raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BaseModelError(f"{path}: the VAE cannot be loaded: {reason}") from error


def _from_file(path: Path, family: Family) -> AutoencoderKL:
    if not path.exists():
        raise BaseModelError(f"{path}: no VAE there; {_TAKEN}")
    file = read_weight_file(path)
    try:
        return convert_vae(file, family_facts(family)["vae"])
    except (KeyError, IndexError) as error:
        raise BaseModelError(f"{path}: holds no VAE in the original layout ({error} is missing); {_TAKEN}") from error
