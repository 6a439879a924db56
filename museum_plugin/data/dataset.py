"""The pictures of one style, in batches that depend on (step, seed, style) only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import random
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import DatasetConfig, StyleData, SubsetConfig, require
from museum_plugin.data.buckets import Placement, Size, choose_bucket, resize_and_crop
from museum_plugin.data.captions import augment_caption, read_caption
from museum_plugin.data.folders import find_pictures, picture_sizes, warn_of_missing_captions
from museum_plugin.data.images import (
    ColorShift,
    check_pictures,
    open_picture,
    picture_digest,
    shift_color,
    to_tensor,
)
from museum_plugin.errors import DataError

log = logging.getLogger("museum")
_WHERE_NOT_WHAT = ("subsets", "image_dir", "caption_extension", "class_tokens")
"""Settings that only say where pictures and captions come from; both are hashed themselves."""


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


@dataclass(frozen=True)
class _Bucket:
    """The pictures of one dataset that share a size."""

    members: tuple[int, ...]
    """Positions in `StyleDataset.pictures`, each as often as it is seen in an epoch."""
    batch_size: int


class StyleDataset:
    """All pictures of a style, found, measured and placed when it is made; pixels are read on demand."""

    def __init__(self, style: StyleData, *, prior_loss_weight: float = 1.0, problems: Problems | None = None) -> None:
        """Find the pictures and read their captions.

        Args:
            style: where the pictures are.
            prior_loss_weight: factor of the loss of regularisation pictures (`is_reg`).
            problems: where errors go; None raises the first one. What is wrong with one picture leaves that one out.
        Raises:
            DataError: a folder is missing, unreadable or has no picture; a picture or caption cannot be read.
            ConfigError: resolution and bucket settings contradict each other.
        """
        problems = problems or Problems()
        self.name = style.name
        self.pictures: tuple[Picture, ...] = ()
        """Every picture once, in the order of the dataset file, by name within a folder."""
        self._parts: list[tuple[DatasetConfig, range]] = []
        self._buckets: list[_Bucket] = []
        require(len(style.datasets) >= 1, f"style {style.name}: no [[datasets]], so there is nothing to learn from")
        folders = {subset.image_dir for dataset in style.datasets for subset in dataset.subsets}
        sizes = picture_sizes(find_pictures(sorted(folders), problems), problems)
        for dataset in style.datasets:
            with problems:
                self._add(dataset, sizes, prior_loss_weight, problems)
        self.batches_per_epoch = sum(-(-len(bucket.members) // bucket.batch_size) for bucket in self._buckets)
        self._epoch: tuple[tuple[int, int], list[tuple[int, ...]]] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """sha256, in hex, of picture bytes, captions and the settings that change training.

        File names, folders and times do not count, nor do settings that are left at their defaults.

        Raises:
            DataError: a picture can no longer be read.
        """
        content = []
        for dataset, members in self._parts:
            rows = [
                (picture_digest(p.path), p.caption, p.loss_weight, _changed_settings(p.subset))
                for p in self.pictures[members.start : members.stop]
            ]
            content.append({"settings": _changed_settings(dataset), "pictures": sorted(rows, key=json.dumps)})
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def batch(self, index: int, seed: int) -> Batch:
        """The batch of one micro-step: a pure function of (index, seed, style name).

        In an epoch (`batches_per_epoch` batches) each picture is seen exactly `num_repeats` times, in an order drawn
        anew for every epoch. A batch comes from one bucket of one dataset; the last of a bucket may be smaller.

        Args:
            index: of the micro-step, from 0.
            seed: of the run.
        """
        epoch, position = divmod(index, self.batches_per_epoch)
        rng = _rng(seed, self.name, "batch", index)
        pictures, captions, flipped = [], [], []
        for member in self._order(epoch, seed)[position]:
            picture = self.pictures[member]
            flipped.append(picture.subset.flip_aug and rng.random() < 0.5)
            captions.append(augment_caption(picture.caption, picture.subset, rng))
            pictures.append(_vary(picture, rng))
        return Batch(pictures, captions, flipped)

    def images(self, batch: Batch) -> Tensor:
        """(B, 3, H, W) float32 in [-1, 1]: the pictures of a batch, opened, cropped and flipped.

        Raises:
            DataError: a picture cannot be read, or was replaced by one of another size.
        """
        return torch.stack([load_picture(p, flip) for p, flip in zip(batch.pictures, batch.flipped, strict=True)])

    def times_shown(self) -> dict[int, int]:
        """How often an epoch shows each picture, by its position in `pictures`."""
        return Counter(member for bucket in self._buckets for member in bucket.members)

    def verify(self) -> None:
        """Open every picture once, so that a damaged one is found before training starts.

        Raises:
            DataError: names all pictures that cannot be read, ten at most.
        """
        check_pictures(dict.fromkeys(picture.path for picture in self.pictures))

    def _order(self, epoch: int, seed: int) -> list[tuple[int, ...]]:
        """The batches of an epoch; the latest epoch is remembered."""
        if self._epoch is None or self._epoch[0] != (epoch, seed):
            rng = _rng(seed, self.name, "epoch", epoch)
            batches = []
            for bucket in self._buckets:
                members = rng.sample(bucket.members, len(bucket.members))
                starts = range(0, len(members), bucket.batch_size)
                batches += [tuple(members[start : start + bucket.batch_size]) for start in starts]
            rng.shuffle(batches)
            self._epoch = ((epoch, seed), batches)
        return self._epoch[1]

    def _add(
        self,
        dataset: DatasetConfig,
        sizes: dict[Path, dict[Path, Size]],
        prior_loss_weight: float,
        problems: Problems,
    ) -> None:
        """Place the pictures of one `[[datasets]]` in its buckets; `sizes` holds those of each folder."""
        learned: list[Picture] = []
        prior: list[Picture] = []
        for subset in dataset.subsets:
            weight = prior_loss_weight if subset.is_reg else 1.0
            found = sizes.get(subset.image_dir, {})
            (prior if subset.is_reg else learned).extend(_place(subset, dataset, found, weight, problems))
        if all(subset.is_reg for subset in dataset.subsets):
            raise DataError(
                f"is_reg: {dataset.subsets[0].image_dir} and all folders beside it in [[datasets]] are regularisation "
                "pictures; put them into the [[datasets]] of the pictures to learn"
            )
        if not learned:
            return  # none of them can be used, as was noted of each
        repeats = [picture.subset.num_repeats for picture in learned]
        prior_repeats = regularization_repeats([picture.subset.num_repeats for picture in prior], sum(repeats))
        if unused := prior_repeats.count(0):
            log.warning("%d of %d regularisation pictures are not used: there are more than needed", unused, len(prior))
        used = [pair for pair in zip(learned + prior, repeats + prior_repeats, strict=True) if pair[1]]

        first = len(self.pictures)
        self.pictures += tuple(picture for picture, _ in used)
        self._parts.append((dataset, range(first, len(self.pictures))))
        buckets: dict[Size, list[int]] = {}
        for member, (picture, count) in enumerate(used, start=first):
            buckets.setdefault(picture.placement.bucket, []).extend([member] * count)
        self._buckets += [_Bucket(tuple(members), dataset.batch_size) for members in buckets.values()]


def load_picture(picture: Picture, flip: bool) -> Tensor:
    """(3, H, W) float32 in [-1, 1]: one picture, cropped to its bucket, with its colour shift, mirrored if `flip`.

    Raises:
        DataError: the picture cannot be read, or was replaced by one of another size.
    """
    image = open_picture(picture.path)
    if image.size != picture.size:
        raise DataError(
            f"{picture.path}: the picture had {picture.size[0]}x{picture.size[1]} pixels when training started "
            f"and has {image.width}x{image.height} now; start again"
        )
    image = resize_and_crop(image, picture.placement, flip)
    return to_tensor(image if picture.color is None else shift_color(image, picture.color))


def regularization_repeats(repeats: list[int], learned: int) -> list[int]:
    """How often each regularisation picture is seen in an epoch.

    They are taken in order, with their own repeats, until they are as many as the pictures to learn; the rest get 0. If
    they are too few, each gets one more in turn until they are enough. Source: sd-scripts.

    Args:
        repeats: num_repeats of each regularisation picture.
        learned: how many pictures to learn an epoch shows, repeats counted.
    """
    counts = [0] * len(repeats)
    shown = 0
    for position, repeat in enumerate(repeats):
        if shown >= learned:
            return counts
        counts[position] = repeat
        shown += repeat
    for extra in range(learned - shown if repeats else 0):
        counts[extra % len(counts)] += 1
    return counts


def _place(
    subset: SubsetConfig, dataset: DatasetConfig, sizes: dict[Path, Size], loss_weight: float, problems: Problems
) -> list[Picture]:
    warn_of_missing_captions(list(sizes), subset)
    pictures = []
    for path, size in sizes.items():
        with problems:
            try:
                placement = choose_bucket(size, dataset)
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
            pictures.append(Picture(path, size, read_caption(path, subset), subset, placement, loss_weight))
    return pictures


def _vary(picture: Picture, rng: random.Random) -> Picture:
    """The picture with the crop and colours drawn for one batch. Source: sd-scripts (ranges and chances)."""
    if picture.subset.random_crop:
        old = picture.placement
        left = rng.randint(0, old.resized[0] - old.bucket[0])
        top = rng.randint(0, old.resized[1] - old.bucket[1])
        picture = dataclasses.replace(picture, placement=dataclasses.replace(old, left=left, top=top))
    if picture.subset.color_aug and rng.random() <= 0.33:
        turn = rng.random() > 0.5
        shift = ColorShift(hue=rng.uniform(-16, 16)) if turn else ColorShift(gamma=rng.uniform(0.95, 1.05))
        picture = dataclasses.replace(picture, color=shift)
    return picture


def _changed_settings(config: DatasetConfig | SubsetConfig) -> dict[str, object]:
    """The settings that are not at their defaults, so that a setting added later leaves old fingerprints alone."""
    return {
        f.name: getattr(config, f.name)
        for f in dataclasses.fields(config)
        if f.name not in _WHERE_NOT_WHAT and getattr(config, f.name) != f.default
    }


def _rng(*key: object) -> random.Random:
    """A stream of its own for each key, the same on every machine."""
    return random.Random(json.dumps(key))
