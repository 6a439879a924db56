"""More steps where the gate objects: the same training with a heavier lock, judged again after each round."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from museum_plugin.judge.as_learned import as_learned
from museum_plugin.judge.gate import objections
from museum_plugin.judge.retention import BASE
from museum_plugin.train.calendar import Calendar
from museum_plugin.train.exhibition import exhibition_of
from museum_plugin.train.finish import what_was_learned
from museum_plugin.train.optimizer import build_optimizer
from museum_plugin.train.parameter_groups import parameter_groups
from museum_plugin.train.processes import any_process
from museum_plugin.train.schedule import build_schedule
from museum_plugin.train.setup import Classroom, Lesson, extra_terms
from museum_plugin.train.watch import judge_aside, signatures_with

log = logging.getLogger("museum")
_ROUNDS = 4


def round_ends(extra: int) -> list[int]:
    """After how many extra steps the museum is judged again: four rounds, as even as whole numbers allow.

    The last end is `extra`; fewer than four steps make a round each.
    """
    rounds = min(_ROUNDS, extra)
    return [extra * number // rounds for number in range(1, rounds + 1)]


def extra_rounds(room: Classroom, lesson: Lesson) -> Iterator[Lesson]:
    """A lesson for each round of `gate_extra_steps`, until the gate has nothing to object; each is to be taught.

    A style that goes on from a state in the midst of a round begins with that round.

    Raises:
        TrainingError: what the museum draws is not finite.
    """
    gate, steps = room.run.gate, lesson.calendar.steps
    if not gate.extra_steps or gate.mode == "off" or lesson.kept_bank is None or not room.museum.ledger.styles:
        return
    reached = lesson.unfinished.get("step", 0)
    begun, base_latents = steps, None
    ends = [steps + count for count in round_ends(gate.extra_steps)]
    for number, end in enumerate(ends, start=1):
        if reached <= begun:
            against, base_latents = _judge(room, lesson, base_latents)
            if not any_process(room.accelerator, bool(against)):
                return
            if against:
                log.warning("%s; so %d extra steps follow", "; ".join(against), end - begun)
        if reached <= end:
            unfinished = lesson.unfinished if begun < reached else {}
            more = _round(room, replace(lesson, begun=begun, unfinished=unfinished), end)
            yield replace(more, rounds_left=len(ends) - number)
        begun = end


def _judge(room: Classroom, lesson: Lesson, base_latents: Tensor | None) -> tuple[list[str], Tensor | None]:
    """What the gate objects to, and what the base draws; the verdict is kept where there is nothing."""
    if not room.accelerator.is_main_process:
        return [], None
    museum = room.museum
    known = as_learned(museum.ledger.styles)
    verdict = judge_aside(museum, exhibition_of(museum.ledger), signatures_with(museum, lesson), known, base_latents)
    against = objections(verdict, what_was_learned(museum.ledger.styles), room.run.gate)
    lesson.training.course.verdict = None if against else verdict
    return against, verdict.latents[BASE]


def _round(room: Classroom, lesson: Lesson, end: int) -> Lesson:
    """The steps up to `end` with a fresh optimizer at a constant rate: the schedule of the style is at its end."""
    run, training = room.run, lesson.training
    optimizer = build_optimizer(run.optimizer, parameter_groups(run, room.museum, lesson.name))
    constant = replace(run.optimizer, schedule="constant", warmup_steps=0, schedule_class="", schedule_arguments={})
    schedule = build_schedule(constant, optimizer, end)
    if training.scaler is not None:
        room.accelerator.free_memory()  # else it would unscale the gradients of both optimizers, which are the same
        optimizer = room.accelerator.prepare(optimizer)
    terms = {**training.terms, **extra_terms(run, room.museum)}
    return replace(
        lesson,
        training=replace(training, optimizer=optimizer, schedule=schedule, terms=terms),
        bank=lesson.kept_bank,
        calendar=Calendar(end, lesson.calendar.steps_per_epoch),
    )
