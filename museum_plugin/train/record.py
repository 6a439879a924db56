"""What the ledger remembers of a style."""

from __future__ import annotations

from datetime import UTC, datetime

from museum_plugin.museum.ledger import StyleRecord
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
        extra={"captions": list(lesson.captions)},
    )
