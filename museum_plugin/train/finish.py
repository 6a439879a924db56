"""After the last step of a style: the slot is closed, the museum judged, the ledger and the file written."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from museum_plugin.base.encode import decode_latents
from museum_plugin.config.schema import GateConfig, OutputConfig
from museum_plugin.errors import GateError
from museum_plugin.judge.as_learned import as_learned, with_as_learned
from museum_plugin.judge.gate import objections
from museum_plugin.judge.grid import write_grid
from museum_plugin.judge.matrix_picture import write_matrix
from museum_plugin.judge.retention import Exhibition, Verdict, judge
from museum_plugin.judge.signature import signature, signatures_of
from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import content_of
from museum_plugin.train.exhibition import exhibition_of, with_exhibition
from museum_plugin.train.header import form_of_result
from museum_plugin.train.museum_file import MuseumFile
from museum_plugin.train.page_file import write_page
from museum_plugin.train.paths import grid_file, matrix_file, museum_file, page_file
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
    page: Path | None = None
    """All that was found, to look at in a browser."""
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
            style_record(room, lesson, lesson.training.course.steps), signature=signature(lesson.latents).to_dict()
        )
        plan = sampling_plan(room.run, lesson.dataset, room)
        museum.ledger = with_exhibition(museum.ledger.with_style(record), room.run, lesson.captions, plan)
    finished, refused = Finished(museum_file(room.run.output)), None
    if room.accelerator.is_main_process:
        try:
            verdict = lesson.training.course.verdict
            finished = _judge_and_save(room, verdict) if lesson.name else Finished(_save(room, beside=False))
        except GateError as error:
            refused = error
    if any_process(room.accelerator, refused is not None):
        raise refused or GateError(f"style {lesson.name!r}: refused by the gate")  # the main process says why
    return finished


def _save(room: Classroom, *, beside: bool) -> Path:
    """Write the museum, or beside it where that stays as it is."""
    file, content = room.file or MuseumFile(museum_file(room.run.output)), content_of(room.museum)
    form = form_of_result(room.run.metadata, room.run.output)
    if beside:
        path = file.save_beside(content, form=form)
    else:
        path = file.save(content, keep_history=room.run.output.keep_history, form=form)
    checkpoint_path(room).unlink(missing_ok=True)
    return path


def _judge_and_save(room: Classroom, verdict: Verdict | None) -> Finished:
    museum = room.museum
    verdict = judge_newest(museum, verdict)
    against = what_the_gate_says(museum, verdict, room.run.gate)
    path = _save(room, beside=bool(against))
    grid, matrix, page = publish(museum, room.run.output, verdict)
    if against:
        raise refusal(museum, museum_file(room.run.output), path, grid, against)
    return Finished(path, grid, matrix, verdict, page)


def what_the_gate_says(museum: Museum, verdict: Verdict, gate: GateConfig) -> list[str]:
    """What keeps a museum from replacing the one before; nothing where the gate is off, or there is none before."""
    against = objections(verdict, scores_before(museum), gate) if gate.mode == "on" else []
    if against and not museum.ledger.styles[:-1]:
        log.warning("%s; there is no earlier museum to keep, so this one is saved", "; ".join(against))
        return []
    return against


def refusal(museum: Museum, before: Path, beside: Path, grid: Path, against: list[str]) -> GateError:
    """What a run says whose museum does not pass the gate.

    Args:
        before: the museum file that stays.
        beside: where the museum is.
    """
    return GateError(
        f"style {museum.ledger.styles[-1].name!r} was learned, but {before} was not replaced: {'; '.join(against)}. "
        f"The new museum is {beside}, its pictures are {grid}.\nUse that file if you like what you see; else teach the "
        "style again with a smaller learning_rate, fewer steps, or a heavier lock; --gate off replaces in any case."
    )


def judge_newest(museum: Museum, verdict: Verdict | None = None) -> Verdict:
    """Judge all styles, and give the newest one's record the scores and what it does: it is held to that from now on.

    Args:
        verdict: of the museum as it is, if it was judged already.
    Raises:
        TrainingError, BaseModelError: what the museum or its base draws is not finite.
    """
    ledger = museum.ledger
    if verdict is None:
        signatures, learned = signatures_of(ledger.styles), as_learned(ledger.styles)
        verdict = judge(museum, exhibition_of(ledger), signatures, learned=learned)
    newest = with_as_learned(replace(ledger.styles[-1], scores=verdict.scores), verdict.seen[ledger.styles[-1].name])
    museum.ledger = replace(ledger, styles=(*ledger.styles[:-1], newest))
    return verdict


def scores_before(museum: Museum) -> dict[str, float]:
    """The score of each old style right after it was learned."""
    return what_was_learned(museum.ledger.styles[:-1])


def what_was_learned(records: Iterable[StyleRecord]) -> dict[str, float]:
    """The score of each style right after it was learned, where one was recorded."""
    return {old.name: old.scores[old.name] for old in records if old.name in old.scores}


def publish(museum: Museum, output: OutputConfig, verdict: Verdict) -> tuple[Path, Path, Path]:
    """Say a verdict in words, and write its grid, retention matrix and page into `output_dir`.

    Returns:
        the three files.
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
) -> tuple[Path, Path, Path]:
    names, scores = museum.ledger.retention_matrix()
    grid = grid_file(output, len(names), names[-1])
    drawn = {name: decode_latents(museum.base, latents) for name, latents in verdict.latents.items()}
    write_grid(grid, {_title(museum.phrase(name), name): images for name, images in drawn.items()}, exhibition.prompts)
    page = page_file(output, len(names), names[-1])
    write_page(page, museum, verdict, before, drawn)
    matrix = matrix_file(output, len(names), names[-1])
    write_matrix(
        matrix,
        matrix.with_suffix(".json"),
        names=names,
        matrix=scores,
        kept=verdict.kept(before),
        drift=verdict.drift,
    )
    return grid, matrix, page


def _title(phrase: str, column: str) -> str:
    return f"{column} ({phrase})" if phrase else column
