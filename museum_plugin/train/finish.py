"""After the last step of a style: the slot is closed, the museum judged, the ledger and the file written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from museum_plugin.base.encode import decode_latents
from museum_plugin.config.schema import OutputConfig
from museum_plugin.errors import GateError
from museum_plugin.judge.gate import objections
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
from museum_plugin.train.processes import any_process
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
    objections: tuple[str, ...] = ()
    """What kept this museum from replacing the one before."""
    exports: tuple[Path, ...] = ()
    """Folders in which the museum was published, after the last style of a run."""


def finish_style(room: Classroom, lesson: Lesson) -> Finished:
    """Close the slot, judge all styles, write the file and the pictures; only the main process judges and writes.

    Raises:
        TrainingError: a number of the museum is not finite; the file is untouched.
        OutputError: something cannot be written; what was there is untouched.
        GateError: old styles or prompts without a trigger lost too much; the file is untouched, the museum beside it.
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
    finished = Finished(museum_file(room.run.output))
    if room.accelerator.is_main_process:
        finished = _judge_and_save(room) if lesson.name else Finished(_save(room))
    if any_process(room.accelerator, bool(finished.objections)):
        raise GateError(_refusal(finished, lesson.name, room.run.output.museum))
    return finished


def _save(room: Classroom, *, beside: bool = False) -> Path:
    """Write the museum as it is; a file that was there goes to its history, or stays where this one goes beside it."""
    file = room.file or MuseumFile(museum_file(room.run.output))
    form = form_of_result(room.run.metadata, room.run.output)
    content = content_of(room.museum)
    if beside:
        path = file.save_beside(content, form=form)
    else:
        path = file.save(content, keep_history=room.run.output.keep_history, form=form)
    checkpoint_path(room).unlink(missing_ok=True)
    return path


def _judge_and_save(room: Classroom) -> Finished:
    verdict, museum = judge_newest(room.museum), room.museum
    against = tuple(objections(verdict, scores_before(museum), room.run.gate)) if room.run.gate.mode == "on" else ()
    if against and not museum.ledger.styles[:-1]:
        log.warning("%s; there is no earlier museum to keep, so this one is saved", "; ".join(against))
        against = ()
    path = _save(room, beside=bool(against))
    grid, matrix = publish(museum, room.run.output, verdict)
    return Finished(path, grid, matrix, verdict, against)


def _refusal(finished: Finished, style: str, museum: Path | None) -> str:
    """What a run says whose museum did not pass the gate."""
    if not finished.objections:
        return f"style {style!r}: refused by the gate"  # another process says why
    return (
        f"style {style!r} was learned, but {museum} was not replaced: {'; '.join(finished.objections)}. The new museum "
        f"is {finished.museum}, its pictures are {finished.grid}.\nUse that file if you like what you see; else teach "
        "the style again with a smaller learning_rate, fewer steps, or a heavier lock; --gate off replaces in any case."
    )


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


def scores_before(museum: Museum) -> dict[str, float]:
    """The score of each old style right after it was learned."""
    return {old.name: old.scores[old.name] for old in museum.ledger.styles[:-1] if old.name in old.scores}


def publish(museum: Museum, output: OutputConfig, verdict: Verdict) -> tuple[Path, Path]:
    """Say a verdict in words, and write its grid and retention matrix into `output_dir`.

    Raises:
        OutputError: a picture cannot be written.
    """
    exhibition, before = exhibition_of(museum.ledger), scores_before(museum)
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
