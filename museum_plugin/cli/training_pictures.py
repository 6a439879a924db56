"""The training pictures of a style as latents of one size, to compare drawn pictures with."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from museum_plugin.base.encode import encode_pictures
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.config.dataset_toml import read_dataset_config
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.images import list_pictures, open_picture, to_tensor
from museum_plugin.errors import DataError

_MOST = 256
"""Pictures of a style that are looked at."""
_BATCH = 8


def training_files(place: Path, style: str) -> list[Path]:
    """Pictures in a folder; or those that a dataset file teaches as this style, without regularisation pictures.

    Raises:
        DataError, ConfigError: the place cannot be read, or has fewer than two pictures.
    """
    if place.is_dir():
        found = list_pictures(place, "--images")
    else:
        told = read_dataset_config(place, {})
        own = [data for data in told if data.name == style] or (list(told) if len(told) == 1 else [])
        if not own:
            raise DataError(f"--images: {place} teaches no style {style!r}")
        found = [picture.path for picture in StyleDataset(own[0]).pictures if not picture.subset.is_reg]
    found = list(dict.fromkeys(found))
    if len(found) < 2:
        raise DataError(f"--images: {place} has {len(found)} pictures; at least two are needed to compare with")
    return found[:_MOST]


def fitted(path: Path, plan: SamplingPlan) -> Image.Image:
    """A picture filled into the size that is drawn, its middle where the shapes differ.

    Raises:
        DataError: it cannot be read.
    """
    return ImageOps.fit(open_picture(path), (plan.width, plan.height), Image.Resampling.LANCZOS)


def training_latents(base: BaseModel, pictures: list[Image.Image]) -> Tensor:
    """(M, C, h, w) scaled latents, float32, on the CPU, of pictures of one size."""
    images = torch.stack([to_tensor(picture) for picture in pictures])
    return torch.cat([encode_pictures(base, part).cpu() for part in images.split(_BATCH)])
