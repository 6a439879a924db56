"""After the last step of a style: the slot is closed, the museum judged, the ledger and the file written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from museum_plugin.base.encode import decode_latents
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.judge.grid import write_grid
from museum_plugin.judge.matrix import retention_matrix
from museum_plugin.judge.matrix_picture import write_matrix
from museum_plugin.judge.retention import Exhibition, Verdict, judge
from museum_plugin.judge.signature import Signature, signature
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.ledger import Ledger, StyleRecord
from museum_plugin.museum.store import content_of
from museum_plugin.train.paths import between_file, grid_file, matrix_file, museum_file
from museum_plugin.train.setup import Classroom, Lesson, checkpoint_path, sampling_plan

log = logging.getLogger("museum")
_EXHIBITED = 6


@dataclass(frozen=True)
class Finished:
    """Where the results of a style are, and what was found."""

    museum: Path
    grid: Path | None = None
    matrix: Path | None = None
    verdict: Verdict | None = None
    seconds_a_step: float | None = None
    """Mean over the steps of this style."""


def museum_path(room: Classroom) -> Path:
    """The file this run grows, or the plain LoRA it writes."""
    return museum_file(room.run.output)


def save_museum(room: Classroom, path: Path) -> None:
    """Write the museum as it is; a file that was there goes to its history."""
    write_museum(path, content_of(room.museum), keep_history=room.run.output.keep_history)


def save_between(room: Classroom, lesson: Lesson, step: int) -> Path:
    """The museum in the middle of a style as a file of its own, named as sd-scripts names it."""
    path = between_file(room.run.output, step)
    ledger = room.museum.ledger
    if lesson.name:
        room.museum.ledger = ledger.with_style(_record(room, lesson, step))
    try:
        write_museum(path, content_of(room.museum), keep_history=0)
    finally:
        room.museum.ledger = ledger
    return path


def finish_style(room: Classroom, lesson: Lesson) -> Finished:
    """Close the slot, judge all styles, write the file and the pictures; only the main process judges and writes.

    Raises:
        TrainingError: a number of the museum is not finite; the file is untouched.
        OutputError: something cannot be written; what was there is untouched.
    """
    museum, path = room.museum, museum_path(room)
    for term, _ in lesson.training.terms.values():
        term.end_style(museum)
    if lesson.name:
        museum.slots.close(lesson.name)
        record = replace(_record(room, lesson, room.run.training.steps), signature=signature(lesson.latents).to_dict())
        museum.ledger = _with_exhibition(museum.ledger.with_style(record), room, lesson)
    if not room.accelerator.is_main_process:
        return Finished(path)
    return _judge_and_save(room, path) if lesson.name else _save(room, path)


def _save(room: Classroom, path: Path) -> Finished:
    save_museum(room, path)
    checkpoint_path(room).unlink(missing_ok=True)
    return Finished(path)


def _judge_and_save(room: Classroom, path: Path) -> Finished:
    museum, ledger = room.museum, room.museum.ledger
    exhibition = exhibition_of(ledger)
    signatures = {r.name: Signature.from_dict(r.signature) for r in ledger.styles if r.signature}
    before = {old.name: old.scores[old.name] for old in ledger.styles[:-1] if old.name in old.scores}
    verdict = judge(museum, exhibition, signatures)
    museum.ledger = replace(ledger, styles=(*ledger.styles[:-1], replace(ledger.styles[-1], scores=verdict.scores)))
    _save(room, path)
    grid, matrix = write_pictures(room, verdict, exhibition, before)
    for sentence in verdict.sentences(before):
        log.info("  %s", sentence)
    return Finished(path, grid, matrix, verdict)


def write_pictures(
    room: Classroom, verdict: Verdict, exhibition: Exhibition, before: dict[str, float]
) -> tuple[Path, Path]:
    """The grid and the retention matrix of a verdict, in `output_dir`."""
    museum, output = room.museum, room.run.output
    names = [record.name for record in museum.ledger.styles]
    columns = {_title(museum.phrase(name), name): latents for name, latents in verdict.latents.items()}
    grid = grid_file(output, len(names), names[-1])
    write_grid(grid, {title: _pictures(room, latents) for title, latents in columns.items()}, exhibition.prompts)
    matrix = matrix_file(output, len(names), names[-1])
    write_matrix(
        matrix,
        matrix.with_suffix(".json"),
        names=names,
        matrix=retention_matrix([record.scores for record in museum.ledger.styles], names),
        kept=verdict.kept(before),
        drift=verdict.drift,
    )
    return grid, matrix


def _title(phrase: str, column: str) -> str:
    return f"{column} ({phrase})" if phrase else column


def _pictures(room: Classroom, latents: Tensor) -> Tensor:
    return decode_latents(room.museum.base, latents)


def _record(room: Classroom, lesson: Lesson, steps: int) -> StyleRecord:
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


def _with_exhibition(ledger: Ledger, room: Classroom, lesson: Lesson) -> Ledger:
    """What is drawn for judging is settled by the first style, so that later verdicts can be compared with it."""
    if "exhibition" in ledger.extra:
        return ledger
    stride = max(1, len(lesson.captions) // _EXHIBITED)
    prompts = room.run.preview.prompts or lesson.captions[::stride]
    prompts = (prompts or ("",))[:_EXHIBITED]
    plan = sampling_plan(room.run, lesson.dataset, room)
    described = {"prompts": list(prompts), "seed": room.run.training.seed, **plan.to_dict()}
    return replace(ledger, extra={**ledger.extra, "exhibition": described})


def exhibition_of(ledger: Ledger) -> Exhibition:
    """What this museum draws for every verdict."""
    described = dict(ledger.extra["exhibition"])
    prompts, seed = tuple(described.pop("prompts")), described.pop("seed")
    return Exhibition(prompts, tuple(seed + i for i in range(len(prompts))), SamplingPlan.from_dict(described))
