"""What the ledger remembers of a style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from museum_plugin.config.schema import DatasetConfig, SubsetConfig
from museum_plugin.data.picture import Picture
from museum_plugin.judge.course import COURSE
from museum_plugin.methods.method import Term
from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.training_strings import DATA, data_facts
from museum_plugin.train.setup import Classroom, Lesson

_SUBSET = (
    "num_repeats", "is_reg", "class_tokens", "flip_aug", "color_aug", "random_crop", "shuffle_caption", "keep_tokens",
    "keep_tokens_separator", "secondary_separator", "enable_wildcard", "caption_prefix", "caption_suffix",
    "resize_interpolation",
)  # fmt: skip
"""What is told of a folder; nothing where it was not given."""


class Taught(Protocol):
    """The pictures that a style was taught with."""

    @property
    def pictures(self) -> Sequence[object]:
        """One by one."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all of them."""
        ...


def new_record(
    slot: Slot,
    method: str,
    terms: Mapping[str, tuple[Term, float]],
    taught: Taught,
    settings: dict[str, Any],
    steps: int,
    extra: dict[str, Any],
) -> StyleRecord:
    """The record of a style that is taught now, without scores.

    Args:
        terms: of the loss, with their weights.
        settings: by flag name.
        extra: what else is remembered.
    """
    return StyleRecord(
        name=slot.style,
        trigger=slot.phrase,
        words=slot.words,
        token_ids=slot.token_ids,
        taught_at=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=steps,
        pictures=len(taught.pictures),
        data_fingerprint=taught.fingerprint,
        method=method,
        weights={name: weight for name, (_, weight) in terms.items()},
        settings=settings,
        extra=extra,
    )


def style_record(room: Classroom, lesson: Lesson, steps: int) -> StyleRecord:
    """The record of a style after `steps` steps, without scores."""
    slot, terms = room.museum.slots.slots[lesson.name], lesson.training.terms
    extra = {"captions": list(lesson.captions), DATA: _data(room, lesson), **_course(lesson)}
    return new_record(slot, room.run.method.name, terms, lesson.dataset, lesson.settings, steps, extra)


def _course(lesson: Lesson) -> dict[str, Any]:
    points = [point.to_dict() for point in lesson.training.course.points]
    return {COURSE: points} if points else {}


def _data(room: Classroom, lesson: Lesson) -> dict[str, Any]:
    """How many pictures an epoch has, repeats counted, in which sizes they are learned, and how many batches."""
    sizes, reg_images = Counter[str](), 0
    for picture in lesson.dataset.pictures:
        if picture.subset.is_reg:
            reg_images += picture.subset.num_repeats
        else:
            sizes[_size(picture)] += picture.subset.num_repeats
    return data_facts(
        sizes,
        reg_images=reg_images,
        batches_per_epoch=lesson.dataset.batches_per_epoch,
        batches_per_step=room.run.training.gradient_accumulation_steps * room.accelerator.num_processes,
        datasets=[_dataset(*part) for part in lesson.dataset.parts],
    )


def _dataset(config: DatasetConfig, pictures: tuple[Picture, ...]) -> dict[str, Any]:
    """One of `ss_datasets`, with sd-scripts' names of fields; folders by their last name alone."""
    counts = Counter(picture.subset for picture in pictures)
    repeated = Counter(p.subset.is_reg for p in pictures for _ in range(p.subset.num_repeats))
    return {
        "is_dreambooth": not any(subset.metadata_file for subset in config.subsets),
        "batch_size_per_device": config.batch_size,
        "num_train_images": repeated[False],
        "num_reg_images": repeated[True],
        "resolution": list(config.resolution),
        "enable_bucket": config.enable_bucket,
        "min_bucket_reso": config.min_bucket_reso,
        "max_bucket_reso": config.max_bucket_reso,
        "subsets": [_subset(subset, counts[subset]) for subset in config.subsets],
    }


def _subset(config: SubsetConfig, pictures: int) -> dict[str, Any]:
    """One of a dataset's `subsets`."""
    named = {name: getattr(config, name) for name in _SUBSET if getattr(config, name) is not None}
    return {"img_count": pictures, "image_dir": config.image_dir.name, **named}


def _size(picture: Picture) -> str:
    width, height = picture.placement.bucket
    return f"{width}x{height}"
