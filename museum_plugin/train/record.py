"""What the ledger remembers of a style."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.museum.training_strings import DATA
from museum_plugin.train.setup import Classroom, Lesson


def style_record(room: Classroom, lesson: Lesson, steps: int) -> StyleRecord:
    """The record of a style after `steps` steps, without scores."""
    slot = room.museum.slots.slots[lesson.name]
    return StyleRecord(
        name=lesson.name,
        trigger=slot.phrase,
        words=slot.words,
        token_ids=slot.token_ids,
        taught_at=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=steps,
        pictures=len(lesson.dataset.pictures),
        data_fingerprint=lesson.dataset.fingerprint,
        method=room.run.method.name,
        weights={name: weight for name, (_, weight) in lesson.training.terms.items()},
        settings=lesson.settings,
        extra={"captions": list(lesson.captions), DATA: _data(room, lesson)},
    )


def _data(room: Classroom, lesson: Lesson) -> dict[str, Any]:
    """How many pictures an epoch has, repeats counted, in which sizes they are learned, and how many batches."""
    sizes, reg_images = Counter[str](), 0
    for picture in lesson.dataset.pictures:
        if picture.subset.is_reg:
            reg_images += picture.subset.num_repeats
        else:
            width, height = picture.placement.bucket
            sizes[f"{width}x{height}"] += picture.subset.num_repeats
    per_step = room.run.training.gradient_accumulation_steps * room.accelerator.num_processes
    return {
        "images": sizes.total(),
        "reg_images": reg_images,
        "sizes": dict(sizes),
        "batches_per_epoch": lesson.dataset.batches_per_epoch,
        "batches_per_step": per_step,
    }
