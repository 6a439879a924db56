"""Resizing a picture, the ways of `resize_interpolation`."""

from __future__ import annotations

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
    channels = []
    for channel in image.split():
        rows = _means(np.asarray(channel), size[1])
        channels.append(Image.fromarray(np.rint(_means(rows.T, size[0]).T).astype(np.uint8)))
    return Image.merge(image.mode, channels)


def _means(rows: NDArray[np.generic], count: int) -> NDArray[np.float64]:
    """(count, ...): the rows (n, ...) averaged over `count` equal stretches."""
    exact = np.int64 if np.issubdtype(rows.dtype, np.integer) else np.float64
    until = np.zeros((len(rows) + 1, *rows.shape[1:]), dtype=exact)
    np.cumsum(rows, axis=0, out=until[1:])
    edges = np.arange(count + 1) * (len(rows) / count)
    whole = np.minimum(edges.astype(np.int64), len(rows) - 1)
    part = (edges - whole)[:, None]
    sums = until[whole] * (1 - part) + until[whole + 1] * part
    return np.diff(sums, axis=0) * (count / len(rows))
