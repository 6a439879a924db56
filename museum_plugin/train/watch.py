"""Judging in the midst of a style, with few pictures: how its score and the old ones go, and when it is learned."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from museum_plugin.judge.as_learned import AsLearned
from museum_plugin.judge.course import Point, point_of
from museum_plugin.judge.gate import is_learned
from museum_plugin.judge.retention import BASE, Exhibition, Verdict, judge
from museum_plugin.judge.signature import Signature, signature, signatures_of
from museum_plugin.museum.museum import Museum
from museum_plugin.train.exhibition import exhibition_of, with_exhibition
from museum_plugin.train.log import Progress
from museum_plugin.train.logs import log_numbers
from museum_plugin.train.optimizer import averaged
from museum_plugin.train.processes import any_process
from museum_plugin.train.setup import Classroom, Lesson, sampling_plan

log = logging.getLogger("museum")
_PICTURES = 2
"""Of each style and without a trigger; the verdict at the end draws three times as many."""


@dataclass(frozen=True)
class Watch:
    """What every verdict in the midst of a style is compared with."""

    exhibition: Exhibition
    signatures: dict[str, Signature]
    """Of the old styles, then of the new one."""
    before: dict[str, float]
    """The score of each old style before the first step."""
    learned: dict[str, AsLearned]
    """What each old style did before the first step."""
    base_latents: Tensor

    def verdict(self, museum: Museum) -> Verdict:
        """Of the museum as it is now."""
        return judge_aside(museum, self.exhibition, self.signatures, self.learned, self.base_latents)


@torch.no_grad()
def judge_aside(
    museum: Museum,
    exhibition: Exhibition,
    signatures: dict[str, Signature],
    learned: dict[str, AsLearned],
    base_latents: Tensor | None = None,
) -> Verdict:
    """`judge`, with torch's own random numbers left as they are, since the training goes on."""
    device = museum.base.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        return judge(museum, exhibition, signatures, learned=learned, base_latents=base_latents)


def signatures_with(museum: Museum, lesson: Lesson) -> dict[str, Signature]:
    """Of every finished style that has one, and of the one that is being learned."""
    return {**signatures_of(museum.ledger.styles), lesson.name: signature(lesson.latents)}


def begin_watch(room: Classroom, lesson: Lesson) -> Watch | None:
    """Draw what is compared with: by the museum as it was before the style, so before a state is taken up.

    Returns:
        None where nothing is judged: without `judge_every`, in extra steps, and in all processes but the main one.
    """
    if room.run.gate.judge_every is None or lesson.begun or not room.accelerator.is_main_process:
        return None
    museum, plan = room.museum, sampling_plan(room.run, lesson.dataset, room)
    whole = exhibition_of(with_exhibition(museum.ledger, room.run, lesson.captions, plan))
    few = replace(whole, prompts=whole.prompts[:_PICTURES], seeds=whole.seeds[:_PICTURES])
    signatures = signatures_with(museum, lesson)
    found = judge_aside(museum, few, signatures, {})
    before = {name: score for name, score in found.scores.items() if name != lesson.name}
    learned = {name: seen for name, seen in found.seen.items() if name != lesson.name}
    return Watch(few, signatures, before, learned, found.latents[BASE])


def judge_if_due(room: Classroom, lesson: Lesson, watch: Watch | None, done: int, progress: Progress) -> bool:
    """Judge where it is due after `done` steps, and say whether the style need not be taught any longer.

    Raises:
        TrainingError: what the museum draws is not finite.
    """
    gate = room.run.gate
    if gate.judge_every is None or lesson.begun or done == 0 or done % gate.judge_every:
        return False
    learned = False
    if watch is not None:
        with averaged(lesson.training.optimizer):
            verdict = watch.verdict(room.museum)
        point = point_of(verdict, watch.before, lesson.name, done)
        _tell(room, lesson, point, progress)
        learned = is_learned(verdict, watch.before, gate)
        if learned:
            log.info("%s is learned: it stops after step %d of %d", lesson.title, done, lesson.calendar.steps)
    return any_process(room.accelerator, learned)


def _tell(room: Classroom, lesson: Lesson, point: Point, progress: Progress) -> None:
    points = lesson.training.course.points
    points[:] = [earlier for earlier in points if earlier.step < point.step] + [point]
    progress.note("score", point.score)
    if point.kept:
        progress.note("kept", min(point.kept.values()))
    log.info("%s after step %d: %s", lesson.title, point.step, point)
    if room.run.output.log_with:
        told = {"score": point.score, "drift": point.drift}
        told |= {f"kept/{name}": share for name, share in point.kept.items()}
        log_numbers(room.accelerator, {f"{lesson.title}/{name}": value for name, value in told.items()}, point.step - 1)
