"""Resizing a picture, the ways of `resize_interpolation`."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "linear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "cubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}
"""All ways but "area"."""


def resize(image: Image.Image, size: tuple[int, int], interpolation: str | None = None) -> Image.Image:
    """The picture in another size.

    Source: sd-scripts: area averaging when both sides shrink, else Lanczos; and the names. Ours: all but area are
    Pillow's filters, which average over all pixels when they shrink, where OpenCV's bilinear and bicubic skip some.

    Args:
        image: RGB, or one channel of 8 bits.
        size: (width, height) in pixels.
        interpolation: one of RESIZE_INTERPOLATIONS, or None for the usual way.
    """
    if image.size == size:
        return image
    if interpolation is None:
        interpolation = "area" if image.width >= size[0] and image.height >= size[1] else "lanczos"
    if interpolation == "area":
        return area_average(image, size)
    return image.resize(size, _FILTERS[interpolation])


def area_average(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Every new pixel is the mean of what it covers, parts of pixels counted as parts; halves round to even.

    Source: OpenCV's INTER_AREA. Pillow's BOX is the same for whole factors only: else it counts a pixel whole or not.

    Args:
        image: RGB, or one channel of 8 bits.
        size: (width, height) in pixels.
    """
    pixels = np.asarray(image)
    height, width, *channels = pixels.shape
    rows = _means(pixels.reshape(height, -1), size[1]).reshape(size[1], width, *channels)
    columns = np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(width, -1)
    mean = _means(columns, size[0]).reshape(size[0], size[1], *channels).swapaxes(0, 1)
    return Image.fromarray(np.rint(mean).astype(np.uint8))


def _means(rows: NDArray[np.generic], count: int) -> NDArray[np.float32]:
    """(count, m): the rows (n, m) averaged over `count` equal stretches."""
    edges = np.arange(count + 1) * (len(rows) / count)
    means = np.empty((count, rows.shape[1]), dtype=np.float32)
    for i, (low, high) in enumerate(pairwise(edges)):
        first, last = int(low), min(math.ceil(high), len(rows))
        shares = np.minimum(np.arange(first, last) + 1, high) - np.maximum(np.arange(first, last), low)
        shares = (shares * (count / len(rows))).astype(np.float32)
        means[i] = (shares[:, None] * rows[first:last]).sum(
            axis=0
        )  # no BLAS: its order of adding is not ours to choose
    return means
