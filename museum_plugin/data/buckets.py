"""Which size a picture is trained at (its bucket), and which part of it is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from museum_plugin.config.schema import DatasetConfig, require
from museum_plugin.data.resize import resize
from museum_plugin.errors import DataError

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Placement:
    """How a picture is brought to its bucket: resized to cover it, then cropped."""

    bucket: Size
    """(width, height) that is trained."""
    resized: Size
    """(width, height) before the crop; at least the bucket on both sides."""
    left: int
    """Pixels cut off on the left of the resized picture."""
    top: int


def bucket_resolutions(dataset: DatasetConfig) -> list[Size]:
    """The bucket sizes to choose from, sorted: all multiples of the step whose area is at most that of the resolution.

    Without buckets the resolution alone. With `bucket_no_upscale` there is no fixed set (empty list): each picture
    gives its own bucket. Source: sd-scripts.

    Raises:
        ConfigError: the resolution lies outside min_bucket_reso..max_bucket_reso.
    """
    if not dataset.enable_bucket:
        return [dataset.resolution]
    smallest, largest = _bucket_limits(dataset)
    if dataset.bucket_no_upscale:
        return []
    step, area = dataset.bucket_reso_steps, math.prod(dataset.resolution)
    square = math.isqrt(area) // step * step
    sizes = {(square, square)}
    for width in range(smallest, largest + 1, step):
        height = min(largest, area // width // step * step)
        if height >= smallest:
            sizes |= {(width, height), (height, width)}
    return sorted(sizes)


def choose_bucket(size: Size, dataset: DatasetConfig) -> Placement:
    """Where a picture of this size goes; the crop is centred.

    With a fixed set: the bucket with the nearest width / height (of two, the first in sorted order); the picture is
    scaled until it covers it. With `bucket_no_upscale`: a picture larger in area than the resolution shrinks to it, and
    the bucket is the picture's size rounded down to the step.

    Source: sd-scripts. Ours: without buckets the picture is also scaled to cover the resolution, whether its latents
    are cached or not (sd-scripts does so when they are and stops when they are not).

    Raises:
        ConfigError: see `bucket_resolutions`.
        DataError: one side is shorter than a bucket step and may not be enlarged.
    """
    sizes = bucket_resolutions(dataset)
    if not sizes:
        resized = _shrink(size, dataset)
        step = dataset.bucket_reso_steps
        bucket = (resized[0] // step * step, resized[1] // step * step)
        if min(bucket) == 0:
            raise DataError(
                f"a picture of {size[0]}x{size[1]} does not fill one step of bucket_reso_steps = {step} on both sides, "
                "and bucket_no_upscale forbids to enlarge it; take it out or turn bucket_no_upscale off"
            )
    else:
        ratio = size[0] / size[1]
        bucket = min(sizes, key=lambda s: abs(s[0] / s[1] - ratio))
        resized = _cover(size, bucket)
    return Placement(bucket, resized, (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2)


def resize_and_crop(
    image: Image.Image, placement: Placement, flip: bool, interpolation: str | None = None
) -> Image.Image:
    """The part of the picture that is trained, in the size of its bucket; mirrored after the crop if `flip`.

    Args:
        image: RGB or one channel, of any size.
        interpolation: see `resize`.
    """
    image = resize(image, placement.resized, interpolation)
    left, top = placement.left, placement.top
    image = image.crop((left, top, left + placement.bucket[0], top + placement.bucket[1]))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image


def _bucket_limits(dataset: DatasetConfig) -> Size:
    """min_bucket_reso rounded down and max_bucket_reso rounded up to whole steps."""
    step = dataset.bucket_reso_steps
    smallest = max(step, dataset.min_bucket_reso // step * step)
    largest = -(-dataset.max_bucket_reso // step) * step
    low, high = min(dataset.resolution), max(dataset.resolution)
    require(
        smallest <= low,
        f"min_bucket_reso: found {dataset.min_bucket_reso} in steps of {step}, "
        f"but the resolution has a side of {low}; allowed: a min_bucket_reso and bucket_reso_steps of at most {low}",
    )
    require(
        high <= largest,
        f"max_bucket_reso: found {dataset.max_bucket_reso}, but the resolution has a side of {high}; "
        f"allowed: {high} or more",
    )
    return smallest, largest


def _cover(size: Size, bucket: Size) -> Size:
    """The size scaled until it covers the bucket, one side exactly."""
    if size[0] / size[1] > bucket[0] / bucket[1]:
        return _round(size[0] * (bucket[1] / size[1])), bucket[1]
    return bucket[0], _round(size[1] * (bucket[0] / size[0]))


def _shrink(size: Size, dataset: DatasetConfig) -> Size:
    """A picture of more area than the resolution is shrunk to it, with one side a whole number of steps.

    Of the two sides the one is rounded that changes width / height less.
    """
    area, step = math.prod(dataset.resolution), dataset.bucket_reso_steps
    if math.prod(size) <= area:
        return size
    ratio = size[0] / size[1]
    width = math.sqrt(area * ratio)
    by_width = _round(width) // step * step
    by_height = _round(area / width) // step * step
    height_of_width = _round(by_width / ratio) // step * step
    width_of_height = _round(by_height * ratio) // step * step
    if min(by_height, height_of_width) == 0:
        return 0, 0
    if abs(by_width / height_of_width - ratio) < abs(width_of_height / by_height - ratio):
        return by_width, _round(by_width / ratio)
    return _round(by_height * ratio), by_height


def _round(value: float) -> int:
    """To the nearest integer, half up."""
    return int(value + 0.5)
