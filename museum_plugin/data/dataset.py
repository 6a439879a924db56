"""The pictures of one style, in batches that depend on (step, seed, style) only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import DatasetConfig, StyleData, SubsetConfig, require
from museum_plugin.data.buckets import Size, choose_bucket
from museum_plugin.data.captions import Progress, augment_caption
from museum_plugin.data.faces import without_faces_in_buckets
from museum_plugin.data.images import check_pictures, picture_digest
from museum_plugin.data.masks import find_masks
from museum_plugin.data.picture import Batch as Batch
from museum_plugin.data.picture import Picture, check_mask, load_picture, vary
from museum_plugin.data.selection import Sources, held_out, large_enough, validation_batches, without
from museum_plugin.data.sources import captioned_pictures, picture_sizes
from museum_plugin.errors import DataError

log = logging.getLogger("museum")
_WHERE_NOT_WHAT = (
    "subsets",
    "image_dir",
    "metadata_file",
    "caption_extension",
    "class_tokens",
    "conditioning_data_dir",
)
"""Settings that only say where pictures, captions and masks come from; these are hashed themselves."""


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
        """Every picture to train on once, in the order of the dataset file, by name within a folder."""
        self.validation: tuple[Batch, ...] = ()
        """The pictures that are held out (`validation_split`), as they are: no flip, crop in the middle."""
        self._parts: list[tuple[DatasetConfig, range]] = []
        self._buckets: list[_Bucket] = []
        require(len(style.datasets) >= 1, f"style {style.name}: no [[datasets]], so there is nothing to learn from")
        subsets = dict.fromkeys(subset for dataset in style.datasets for subset in dataset.subsets)
        captions: dict[SubsetConfig, dict[Path, str]] = {subset: {} for subset in subsets}
        for subset in subsets:
            with problems:
                captions[subset] = captioned_pictures(subset, problems)
        measured = picture_sizes((path for found in captions.values() for path in found), problems)
        sizes = {s: {path: measured[path] for path in found if path in measured} for s, found in captions.items()}
        parts = [(dataset, large_enough(sizes, dataset, problems)) for dataset in style.datasets]
        held = held_out(parts, picture_digest)
        for dataset, own in parts:
            with problems:
                learned, prior = _placed(dataset, captions, own, prior_loss_weight, problems)
                if held:
                    self.validation += validation_batches([p for p in learned if p.path in held], dataset)
                self._add(dataset, without(learned, held), without(prior, held))
        self.batches_per_epoch = sum(-(-len(bucket.members) // bucket.batch_size) for bucket in self._buckets)
        self._epoch: tuple[tuple[int, int], list[tuple[int, ...]]] | None = None

    @property
    def parts(self) -> tuple[tuple[DatasetConfig, tuple[Picture, ...]], ...]:
        """Each `[[datasets]]` with its own pictures."""
        return tuple((config, self.pictures[members.start : members.stop]) for config, members in self._parts)

    @cached_property
    def fingerprint(self) -> str:
        """sha256, in hex, of picture bytes, captions and the settings that change training.

        File names, folders and times do not count, nor do settings that are left at their defaults.

        Raises:
            DataError: a picture can no longer be read.
        """
        content = []
        for dataset, pictures in self.parts:
            rows = [
                (picture_digest(p.path), p.caption, p.loss_weight, _changed_settings(p.subset), *_mask_digest(p))
                for p in pictures
            ]
            content.append({"settings": _changed_settings(dataset), "pictures": sorted(rows, key=json.dumps)})
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def batch(self, index: int, seed: int, *, step: int = 0, steps: int = 0) -> Batch:
        """The batch of one micro-step: a pure function of its arguments and the style's name.

        In an epoch (`batches_per_epoch` batches) each picture is seen exactly `num_repeats` times, in an order drawn
        anew for every epoch. A batch comes from one bucket of one dataset; the last of a bucket may be smaller.

        Args:
            index: of the micro-step, from 0.
            seed: of the run.
            step: optimizer steps done, of `steps` in all; they count only for captions with `token_warmup_step`.
        """
        epoch, position = divmod(index, self.batches_per_epoch)
        rng = _rng(seed, self.name, "batch", index)
        progress = Progress(epoch + 1, step, steps)
        pictures, captions, flipped = [], [], []
        for member in self._order(epoch, seed)[position]:
            picture = self.pictures[member]
            flipped.append(picture.subset.flip_aug and rng.random() < 0.5)
            captions.append(augment_caption(picture.caption, picture.subset, rng, progress))
            pictures.append(vary(picture, rng))
        return Batch(pictures, captions, flipped)

    def images(self, batch: Batch) -> Tensor:
        """(B, 3, H, W) float32 in [-1, 1]: the pictures of a batch, opened, cropped and flipped.

        Raises:
            DataError: a picture cannot be read, or was replaced by one of another size.
        """
        return torch.stack([load_picture(p, flip) for p, flip in zip(batch.pictures, batch.flipped, strict=True)])

    @property
    def largest_batch(self) -> tuple[Size, int]:
        """(width, height) in pixels, and how many pictures: of the batch with the most pixels."""
        sizes = [(self.pictures[bucket.members[0]].placement.bucket, bucket) for bucket in self._buckets]
        counted = [(size, min(len(bucket.members), bucket.batch_size)) for size, bucket in sizes]
        return max(counted, key=lambda pair: (pair[0][0] * pair[0][1] * pair[1], pair[0]))

    def times_shown(self) -> dict[int, int]:
        """How often an epoch shows each picture, by its position in `pictures`."""
        return Counter(member for bucket in self._buckets for member in bucket.members)

    def verify(self) -> None:
        """Open every picture and mask once, so that a damaged one is found before training starts.

        Raises:
            DataError: names all that cannot be read, ten at most, or a mask of another shape than its picture.
        """
        check_pictures(self.files())
        for picture in [*self.pictures, *self.held_out()]:
            check_mask(picture)

    def held_out(self) -> list[Picture]:
        """The pictures of `validation`."""
        return [picture for batch in self.validation for picture in batch.pictures]

    def files(self) -> list[Path]:
        """Every picture and mask that will be opened, once."""
        pictures = [*self.pictures, *self.held_out()]
        masks = [picture.mask for picture in pictures if picture.mask]
        return list(dict.fromkeys([*(picture.path for picture in pictures), *masks]))

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

    def _add(self, dataset: DatasetConfig, learned: list[Picture], prior: list[Picture]) -> None:
        """Put the pictures of one `[[datasets]]` into its buckets."""
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


def _placed(
    dataset: DatasetConfig,
    captions: Mapping[SubsetConfig, dict[Path, str]],
    sizes: Sources,
    prior_loss_weight: float,
    problems: Problems,
) -> tuple[list[Picture], list[Picture]]:
    """The pictures of one `[[datasets]]`: those to learn, and those of prior preservation."""
    learned: list[Picture] = []
    prior: list[Picture] = []
    for subset in dataset.subsets:
        weight = prior_loss_weight if subset.is_reg else 1.0
        shown = without_faces_in_buckets(subset, dataset)
        rows = [(path, size, captions[subset][path]) for path, size in sizes[subset].items()]
        (prior if subset.is_reg else learned).extend(_place(shown, dataset, rows, weight, problems))
    if all(subset.is_reg for subset in dataset.subsets):
        raise DataError(
            f"is_reg: {dataset.subsets[0].image_dir} and all folders beside it in [[datasets]] are regularisation "
            "pictures; put them into the [[datasets]] of the pictures to learn"
        )
    return learned, prior


def _place(
    subset: SubsetConfig,
    dataset: DatasetConfig,
    rows: list[tuple[Path, Size, str]],
    loss_weight: float,
    problems: Problems,
) -> list[Picture]:
    """Pictures with sizes and captions, as this subset shows them."""
    pictures = []
    masks: dict[Path, Path] = {}
    with problems:
        masks = find_masks(subset, [path for path, _, _ in rows])
    for path, size, caption in rows:
        with problems:
            try:
                placement = choose_bucket(size, dataset)
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
            pictures.append(Picture(path, size, caption, subset, placement, loss_weight, mask=masks.get(path)))
    return pictures


def _mask_digest(picture: Picture) -> list[str]:
    """Nothing where there is no mask, so that such fingerprints stay what they were."""
    return [] if picture.mask is None else [picture_digest(picture.mask)]


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
