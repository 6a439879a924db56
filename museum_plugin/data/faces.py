"""Crops around a face whose place stands in the picture's file name (`face_crop_aug_range`)."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from pathlib import Path

from museum_plugin.config.schema import DatasetConfig, SubsetConfig
from museum_plugin.data.buckets import Placement, Size

log = logging.getLogger("museum")
_LARGE_FACE = 40
"""Pixels; only the place of a face at least this large is shaken."""


@dataclass(frozen=True)
class Face:
    """Where a face is in a picture, in pixels."""

    x: int
    """Of its centre."""
    y: int
    size: int
    """The longer of its width and height."""


def face_of(path: Path) -> Face | None:
    """The face that a file name tells: `<name>_<centre x>_<centre y>_<width>_<height>`; None if it tells none.

    Source: sd-scripts. Ours: a name whose last fields are no numbers tells no face, instead of stopping the run.
    """
    fields = path.stem.split("_")
    if len(fields) < 5 or not all(field.isdecimal() for field in fields[-4:]):
        return None
    x, y, width, height = map(int, fields[-4:])
    return Face(x, y, max(width, height)) if x > 0 and max(width, height) > 0 else None


def without_faces_in_buckets(subset: SubsetConfig, dataset: DatasetConfig) -> SubsetConfig:
    """The subset as it is used: in buckets nothing is cropped around faces. Source: sd-scripts, which does not tell."""
    if subset.face_crop_aug_range is None or not dataset.enable_bucket:
        return subset
    log.warning("face_crop_aug_range (%s): does nothing with enable_bucket", subset.image_dir)
    return replace(subset, face_crop_aug_range=None)


def face_crop(
    size: Size, crop: Size, face: Face, sizes: tuple[float, float], random_crop: bool, rng: random.Random
) -> Placement:
    """A crop around a face, of a size drawn anew for every batch.

    The picture is shrunk by s ~ U(c / (hi f), c / (lo f)), where c is the shorter side of the crop, f the face and
    lo, hi the range; never so far that it no longer covers the crop, and never enlarged. The crop is centred on the
    face and shaken by up to a twentieth of it if lo < hi; with `random_crop` by up to the whole picture, near places
    being likelier. Then it is moved inside the picture.

    Source: sd-scripts. Ours: a picture that is smaller than the crop is enlarged to cover it, instead of stopping the
    run.

    Args:
        size: (width, height) of the picture.
        crop: (width, height) of what is trained.
        face: in pixels of the picture.
        sizes: (lo, hi), the shorter side of the crop in face sizes.
        random_crop: shake the crop over the whole picture.
        rng: draws the size, then the place from top to bottom, then from left to right.
    """
    if size == crop:
        return Placement(crop, size, 0, 0)
    shorter, covering = min(crop), max(crop[0] / size[0], crop[1] / size[1])
    smallest = max(covering, min(1.0, shorter / (face.size * sizes[1])))
    largest = max(smallest, min(1.0, shorter / (face.size * sizes[0])))
    scale = rng.uniform(smallest, largest) if smallest < largest else smallest
    width, height = int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def start(middle: int, length: int, cropped: int) -> int:
        first = middle - cropped // 2
        if random_crop:
            reach = max(length - middle, middle)
            first += rng.randint(0, reach) + rng.randint(0, reach) - reach
        elif sizes[0] != sizes[1] and face.size > shorter // 10 and face.size >= _LARGE_FACE:
            first += rng.randint(-face.size // 20, face.size // 20)
        return max(0, min(first, length - cropped))

    top = start(int(face.y * scale + 0.5), height, crop[1])
    left = start(int(face.x * scale + 0.5), width, crop[0])
    return Placement(crop, (width, height), left, top)
