"""What a run saves before it has ended: the unfinished style, files in between, whole states."""

from __future__ import annotations

import logging
from pathlib import Path

from museum_plugin.errors import TrainingError
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.store import content_of
from museum_plugin.train.calendar import saves_due
from museum_plugin.train.checkpoint import save_checkpoint
from museum_plugin.train.header import form_for_publishing
from museum_plugin.train.optimizer import averaged
from museum_plugin.train.paths import run_stem
from museum_plugin.train.record import style_record
from museum_plugin.train.setup import Classroom, Lesson, checkpoint_path

log = logging.getLogger("museum")


def save_progress(room: Classroom, lesson: Lesson, done: int, *, asked: bool, last: bool) -> None:
    """Save what is due after `done` steps: at the chosen steps and epochs, at the end, and when asked to stop.

    Args:
        last: no step follows.

    Raises:
        TrainingError: a weight is not finite; nothing is saved.
        OutputError: a file cannot be written.
    """
    output, folder = room.run.output, room.run.output.output_dir
    due = saves_due(output, lesson.calendar, done)
    if not (last or due or asked):
        return
    if not room.museum.is_finite():
        raise TrainingError(
            f"style {lesson.title!r}, step {done}: the weights are not finite; nothing of them was saved. "
            "A lower learning rate usually cures it."
        )
    save_checkpoint(checkpoint_path(room), lesson.training, lesson.origin, done)
    stem = run_stem(room.run, lesson.name)
    for save in due:
        with averaged(lesson.training.optimizer):  # a state is saved outside: it goes on from the trained numbers
            write_between(room, lesson, done, folder / f"{stem}{save.suffix}.safetensors")
        if save.expired is not None:
            _remove(folder / f"{stem}{save.expired}.safetensors")
        if output.save_state:
            _write_state(lesson, done, folder / f"{stem}{save.suffix}-state")
            if save.expired_state is not None:
                _remove(folder / f"{stem}{save.expired_state}-state")
    if last and (output.save_state or output.save_state_on_train_end):
        _write_state(lesson, done, folder / f"{stem}-state")


def write_between(room: Classroom, lesson: Lesson, done: int, path: Path) -> None:
    """The museum in the middle of a style as a file of its own."""
    ledger = room.museum.ledger
    if lesson.name:
        room.museum.ledger = ledger.with_style(style_record(room, lesson, done))
    try:
        write_museum(path, content_of(room.museum), keep_history=0, form=form_for_publishing(room.run.metadata))
    finally:
        room.museum.ledger = ledger


def _remove(path: Path) -> None:
    """Remove a file that is no longer wanted; one that stays is no reason to end a run."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: cannot be removed: %s; remove it yourself", path, error.strerror or error)


def _write_state(lesson: Lesson, done: int, path: Path) -> None:
    save_checkpoint(path, lesson.training, lesson.origin, done, lesson.museum_before)
