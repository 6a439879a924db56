"""After the last step of a style: the slot is closed, the museum judged, the ledger and the file written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from museum_plugin.base.encode import decode_latents
from museum_plugin.config.schema import OutputConfig
from museum_plugin.judge.grid import write_grid
from museum_plugin.judge.matrix import retention_matrix
from museum_plugin.judge.matrix_picture import write_matrix
from museum_plugin.judge.retention import Exhibition, Verdict, judge
from museum_plugin.judge.signature import Signature, signature
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import content_of
from museum_plugin.train.exhibition import exhibition_of, with_exhibition
from museum_plugin.train.header import form_of_result
from museum_plugin.train.museum_file import MuseumFile
from museum_plugin.train.paths import grid_file, matrix_file, museum_file
from museum_plugin.train.record import style_record
from museum_plugin.train.setup import Classroom, Lesson, checkpoint_path, sampling_plan

log = logging.getLogger("museum")


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
        plan = sampling_plan(room.run, lesson.dataset, room)
        museum.ledger = with_exhibition(museum.ledger.with_style(record), room.run, lesson.captions, plan)
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
    verdict = judge_newest(room.museum)
    path = _save(room)
    grid, matrix = publish(room.museum, room.run.output, verdict)
    return Finished(path, grid, matrix, verdict)


def judge_newest(museum: Museum) -> Verdict:
    """Judge all styles, and give the newest one's record the scores.

    Raises:
        TrainingError, BaseModelError: what the museum or its base draws is not finite.
    """
    ledger = museum.ledger
    signatures = {r.name: Signature.from_dict(r.signature) for r in ledger.styles if r.signature}
    verdict = judge(museum, exhibition_of(ledger), signatures)
    museum.ledger = replace(ledger, styles=(*ledger.styles[:-1], replace(ledger.styles[-1], scores=verdict.scores)))
    return verdict


def publish(museum: Museum, output: OutputConfig, verdict: Verdict) -> tuple[Path, Path]:
    """Say a verdict in words, and write its grid and retention matrix into `output_dir`.

    Raises:
        OutputError: a picture cannot be written.
    """
    styles, exhibition = museum.ledger.styles, exhibition_of(museum.ledger)
    before = {old.name: old.scores[old.name] for old in styles[:-1] if old.name in old.scores}
    files = _write_pictures(museum, output, verdict, exhibition, before)
    for sentence in verdict.sentences(before):
        log.info("  %s", sentence)
    return files


def _write_pictures(
    museum: Museum, output: OutputConfig, verdict: Verdict, exhibition: Exhibition, before: dict[str, float]
) -> tuple[Path, Path]:
    names = [record.name for record in museum.ledger.styles]
    columns = {_title(museum.phrase(name), name): latents for name, latents in verdict.latents.items()}
    grid = grid_file(output, len(names), names[-1])
    drawn = {title: decode_latents(museum.base, latents) for title, latents in columns.items()}
    write_grid(grid, drawn, exhibition.prompts)
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
