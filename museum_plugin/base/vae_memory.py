"""How many pictures the VAE gets at once, so that it fits beside whatever else is on the card. Source: ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

ENCODING = 640
DECODING = 1024
"""Numbers held at once for each pixel: five layers of 128 channels at full size, and four of 256."""
_SPARE = 0.9
"""Share of what is free that is counted on; the rest goes to what convolutions need besides."""
_TILE = 512
"""Pixels of a side; where the layers of one tile do not fit, no training step would."""


def free_memory(device: torch.device) -> int | None:
    """Bytes that could be had on a card, what torch holds unused included; None where there is no telling."""
    if device.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def smallest_encoding(size: tuple[int, int], dtype: torch.dtype) -> int:
    """Bytes that the VAE's layers need at least while pictures of this width and height are encoded: those of a tile
    where a whole picture is larger.
    """
    return min(_TILE**2, size[0] * size[1]) * ENCODING * dtype.itemsize


def pictures_at_once(pixels: int, bytes_a_pixel: int, free: int | None, most: int) -> int:
    """How many pictures fit, at most `most`; 0: not even one, so it needs tiles.

    Args:
        pixels: of one picture.
        free: bytes; None: no limit.
    """
    return most if free is None else min(most, int(free * _SPARE) // (pixels * bytes_a_pixel))


@contextmanager
def tiled(vae: AutoencoderKL, wanted: bool = True) -> Iterator[None]:
    """While inside, a VAE works on overlapping tiles of 512 pixels; what was set before is set again."""
    names = ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")
    before = {name: getattr(vae, name) for name in names}
    if wanted:
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size = True, _TILE, _TILE // factor
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)
