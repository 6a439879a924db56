"""One picture file, how it is shown to the model, and its mask; several make a batch."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.buckets import Placement, Size, resize_and_crop
from museum_plugin.data.faces import face_crop, face_of
from museum_plugin.data.images import ColorShift, open_alpha, open_picture, picture_size, shift_color, to_tensor
from museum_plugin.errors import DataError


@dataclass(frozen=True)
class Picture:
    """A picture file, and how it is shown to the model."""

    path: Path
    size: Size
    """(width, height) of the upright picture, in pixels."""
    caption: str
    """As written by the user, without augmentation or trigger."""
    subset: SubsetConfig
    placement: Placement
    loss_weight: float = 1.0
    """Factor of this picture's loss; prior_loss_weight for regularisation pictures."""
    color: ColorShift | None = None
    """Drawn for one batch with `color_aug`."""
    mask: Path | None = None
    """Its mask picture, of `conditioning_data_dir`."""

    @property
    def is_masked(self) -> bool:
        """Whether something weighs the loss of each place."""
        return self.mask is not None or self.subset.alpha_mask

    @property
    def moves(self) -> bool:
        """Whether another part of it is shown in every step."""
        return self.subset.random_crop or self.subset.face_crop_aug_range is not None


@dataclass
class Batch:
    """Pictures of one bucket, as they are shown in one step."""

    pictures: list[Picture]
    """With `random_crop` or `color_aug` their placement and colour are those drawn for this batch."""
    captions: list[str]
    """Augmented; before any trigger is added."""
    flipped: list[bool]
    images: Tensor | None = None
    """(B, 3, H, W) float32 in [-1, 1] once somebody loads them."""


def load_picture(picture: Picture, flip: bool) -> Tensor:
    """(3, H, W) float32 in [-1, 1]: one picture, cropped to its bucket, with its colour shift, mirrored if `flip`.

    Transparency is laid on white; with `alpha_mask` it is a mask, and the colours below it are kept.

    Raises:
        DataError: the picture cannot be read, or was replaced by one of another size.
    """
    image = open_picture(picture.path, on_white=not picture.subset.alpha_mask)
    _check_size(image, picture)
    image = resize_and_crop(image, picture.placement, flip, picture.subset.resize_interpolation)
    return to_tensor(image if picture.color is None else shift_color(image, picture.color))


def load_mask(picture: Picture, flip: bool) -> Tensor:
    """(1, H, W) float32 in 0..1, in step with `load_picture`: how much each place counts; 1 where there is no mask.

    The red channel of the picture's mask, or with `alpha_mask` its own alpha channel. Source: sd-scripts.

    Raises:
        DataError: a file cannot be read, the mask is of another shape than its picture, or the picture was replaced.
    """
    place, subset = picture.placement, picture.subset
    if picture.mask is not None:
        image = open_picture(picture.mask).getchannel("R")
        _check_shape(image.size, picture)
        image = resize_and_crop(image, place, flip, "area")
    elif subset.alpha_mask:
        image = open_alpha(picture.path)
        _check_size(image, picture)
        image = resize_and_crop(image, place, flip, subset.resize_interpolation)
    else:
        return torch.ones(1, place.bucket[1], place.bucket[0])
    pixels = np.asarray(image, dtype=np.float32)
    return torch.from_numpy(pixels / 255)[None]


def picture_sizes(picture: Picture, flip: bool) -> tuple[int, int, int, int, int, int]:
    """What SDXL is told of a picture: height and width of the file, what is cut off above and on the left, height and
    width that are trained. In pixels; what is cut off, in those of the resized picture.

    Source: SDXL (arXiv:2307.01952), section 2.2; in the order of sd-scripts. Ours: what is really cut off, also where
    the crop is random; of a mirrored picture, what its own left side lacks.
    """
    place, (width, height) = picture.placement, picture.size
    left = place.resized[0] - place.bucket[0] - place.left if flip else place.left
    return height, width, place.top, left, place.bucket[1], place.bucket[0]


def vary(picture: Picture, rng: random.Random) -> Picture:
    """The picture with the crop and colours drawn for one batch. Source: sd-scripts (ranges and chances)."""
    subset, old = picture.subset, picture.placement
    faces = subset.face_crop_aug_range
    face = face_of(picture.path) if faces else None
    if face and faces:
        crop = face_crop(picture.size, old.bucket, face, faces, subset.random_crop, rng)
        picture = replace(picture, placement=crop)
    elif subset.random_crop:
        left = rng.randint(0, old.resized[0] - old.bucket[0])
        top = rng.randint(0, old.resized[1] - old.bucket[1])
        picture = replace(picture, placement=replace(old, left=left, top=top))
    if subset.color_aug and rng.random() <= 0.33:
        turn = rng.random() > 0.5
        shift = ColorShift(hue=rng.uniform(-16, 16)) if turn else ColorShift(gamma=rng.uniform(0.95, 1.05))
        picture = replace(picture, color=shift)
    return picture


def check_mask(picture: Picture) -> None:
    """Refuse a mask of another shape than its picture; reads no pixels.

    Raises:
        DataError: names both, or the mask cannot be read.
    """
    if picture.mask is not None:
        _check_shape(picture_size(picture.mask), picture)


def _check_size(image: Image.Image, picture: Picture) -> None:
    if image.size != picture.size:
        raise DataError(
            f"{picture.path}: the picture had {picture.size[0]}x{picture.size[1]} pixels when training started "
            f"and has {image.width}x{image.height} now; start again"
        )


def _check_shape(mask: Size, picture: Picture) -> None:
    """A mask may be larger or smaller than its picture, but not of another shape."""
    width, height = picture.size
    if max(abs(mask[0] * height / mask[1] - width), abs(mask[1] * width / mask[0] - height)) > 1:
        raise DataError(
            f"{picture.mask}: this mask of {mask[0]}x{mask[1]} pixels has another shape than its picture "
            f"{picture.path} of {width}x{height}; give it the same size"
        )
