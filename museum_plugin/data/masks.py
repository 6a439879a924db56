"""Which mask belongs to which picture, and masks in the size of latents."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.images import list_pictures
from museum_plugin.errors import DataError

_NAMED = 5


def find_masks(subset: SubsetConfig, pictures: Iterable[Path]) -> dict[Path, Path]:
    """Picture -> the picture of `conditioning_data_dir` with the same stem; empty where no such folder is named.

    Source: sd-scripts (its ControlNet schema).

    Raises:
        DataError: the folder cannot be read, or pictures have no mask.
    """
    folder = subset.conditioning_data_dir
    if folder is None:
        return {}
    masks = {path.stem: path for path in list_pictures(folder, "conditioning_data_dir")}
    pictures = list(pictures)
    missing = [path.name for path in pictures if path.stem not in masks]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(
            f"conditioning_data_dir: {folder} has no mask for {', '.join(missing[:_NAMED])}{more} of "
            f"{subset.image_dir}; a mask has its picture's name"
        )
    return {path: masks[path.stem] for path in pictures}


def at_latent_size(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, h, w): the mask averaged over what each place of a latent stands for.

    Source: sd-scripts, which resizes masks to the loss by area.

    Args:
        mask: (1, H, W) in 0..1.
        size: (h, w) of the latent.
    """
    return torch.nn.functional.adaptive_avg_pool2d(mask, size)
