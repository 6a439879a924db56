"""After the last step of a style: the slot is closed, the museum judged, the ledger and the file written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from museum_plugin.base.encode import decode_latents
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.judge.grid import write_grid
from museum_plugin.judge.matrix import retention_matrix
from museum_plugin.judge.matrix_picture import write_matrix
from museum_plugin.judge.retention import Exhibition, Verdict, judge
from museum_plugin.judge.signature import Signature, signature
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.store import content_of
from museum_plugin.train.header import form_of_result
from museum_plugin.train.museum_file import MuseumFile
from museum_plugin.train.paths import grid_file, matrix_file, museum_file
from museum_plugin.train.record import style_record
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


def finish_style(room: Classroom, lesson: Lesson) -> Finished:
    """Close the slot, judge all styles, write the file and the pictures; only the main process judges and writes.

    Raises:
        TrainingError: a number of the museum is not finite; the file is untouched.
        OutputError: something cannot be written; what was there is untouched.
    """
    museum = room.museum
    for term, _ in lesson.training.terms.values():
        term.end_style(museum)
    if lesson.name:
        museum.slots.close(lesson.name)
        record = replace(
            style_record(room, lesson, lesson.calendar.steps), signature=signature(lesson.latents).to_dict()
        )
        museum.ledger = _with_exhibition(museum.ledger.with_style(record), room, lesson)
    if not room.accelerator.is_main_process:
        return Finished(museum_file(room.run.output))
    return _judge_and_save(room) if lesson.name else Finished(_save(room))


def _save(room: Classroom) -> Path:
    """Write the museum as it is; a file that was there goes to its history."""
    file = room.file or MuseumFile(museum_file(room.run.output))
    form = form_of_result(room.run.metadata, room.run.output)
    path = file.save(content_of(room.museum), keep_history=room.run.output.keep_history, form=form)
    checkpoint_path(room).unlink(missing_ok=True)
    return path


def _judge_and_save(room: Classroom) -> Finished:
    museum, ledger = room.museum, room.museum.ledger
    exhibition = exhibition_of(ledger)
    signatures = {r.name: Signature.from_dict(r.signature) for r in ledger.styles if r.signature}
    before = {old.name: old.scores[old.name] for old in ledger.styles[:-1] if old.name in old.scores}
    verdict = judge(museum, exhibition, signatures)
    museum.ledger = replace(ledger, styles=(*ledger.styles[:-1], replace(ledger.styles[-1], scores=verdict.scores)))
    path = _save(room)
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
