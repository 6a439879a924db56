"""Pictures as arrays: the few operations that styles and looks are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.floating[Any]]
"""(H, W, 3) or (H, W), values in [0, 1]."""


def to_pixels(image: Image.Image) -> Pixels:
    """(H, W, 3), or (H, W) of a grey picture."""
    return np.asarray(image, dtype=np.float32) / 255


def to_picture(pixels: Pixels) -> Image.Image:
    """What lies outside [0, 1] is cut off."""
    return Image.fromarray((pixels.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def blur(image: Image.Image, radius: float) -> Image.Image:
    """Gaussian blur; `radius` in pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def luminance(image: Image.Image) -> Pixels:
    """(H, W) luminance."""
    return to_pixels(image.convert("L"))


def edge_strength(image: Image.Image, width: float = 1.0) -> Pixels:
    """(H, W) strength of color edges, about `width` pixels wide."""
    p = to_pixels(blur(image, 0.6))
    dx = np.abs(np.diff(p, axis=1, append=p[:, -1:])).max(axis=2)
    dy = np.abs(np.diff(p, axis=0, append=p[-1:])).max(axis=2)
    strength = to_picture(np.maximum(dx, dy) * 3.0)
    return (to_pixels(blur(strength, width)) * (1.0 + width)).clip(0, 1)


def pixel_grid(image: Image.Image) -> tuple[Pixels, Pixels]:
    """x and y of every pixel, (H, W) each."""
    y, x = np.mgrid[0 : image.height, 0 : image.width].astype(np.float32)
    return x, y


def mix_colors(low: tuple[float, ...], high: tuple[float, ...], share: Pixels) -> Pixels:
    """Colors from `low` to `high` (0..255) by a (H, W) share."""
    a, b = np.array(low, np.float32) / 255, np.array(high, np.float32) / 255
    return a + (b - a) * share.clip(0, 1)[..., None]
