"""What old styles are expected to keep of a lesson: a formula whose numbers were fitted on runs of our own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from museum_plugin.config.schema import MethodConfig
from museum_plugin.methods import METHODS
from museum_plugin.methods.bank import NEUTRAL
from museum_plugin.train.overlap import TINY, Overlap, rates_of_lora
from museum_plugin.train.schedule import sum_of_rates
from museum_plugin.train.setup import Classroom, Lesson

HOLDING: dict[str, tuple[str, ...]] = {
    "finetune": (),
    "museum": ("function_lock", "feature_lock"),
    "paper": ("weight_regularization", "feature_regularization"),
}
"""Methods of which there were runs -> the terms that hold old styles."""
UNHELD = ", unheld"
FITTED = {
    "museum": 0.64, "paper": -0.88, "finetune": -0.59, "hold": 0.69,
    "overlap": -0.77, "travel": -0.21, "overlap, unheld": -0.24, "travel, unheld": -1.11,
}  # fmt: skip
"""Weight of each feature. Source: ours, `python -m benchmarks.retention_fit`."""
_SHAPES_ONLY = "style_distillation"
"""A term that says what is learned and holds nothing."""
_LEAST_HOLD, _MOST_HOLD = 0.03, 1.0
"""Of the runs."""
_FARTHEST = 50.0


@dataclass(frozen=True)
class Course:
    """How a style would be taught, as far as the forecast looks at it."""

    method: str
    hold: float
    """Weight of what holds old styles, as a part of the method's own."""
    rates: float
    """Sum of the learning rates of all steps."""

    def travel(self, overlap: Overlap) -> float:
        """How far an optimizer of the kind of Adam can go: rates x sqrt(numbers) / length. Source: ours.

        1: as far as the LoRA is long, if every step moved every number the same way.
        """
        return self.rates * math.sqrt(overlap.numbers) / max(overlap.length, TINY)


@dataclass(frozen=True)
class Expected:
    """What is expected of a lesson."""

    keeps: dict[str, float]
    """Old style -> the share of its score that it keeps, 0..1."""
    ways: dict[str, float]
    """Another way to teach the style -> the least share that an old style keeps then."""

    @property
    def least(self) -> float:
        """Of the style that keeps least."""
        return min(self.keeps.values())


def features(overlap: Overlap, style: str, course: Course) -> dict[str, float]:
    """What the formula looks at, by name. Source: ours; see docs/capacity.md.

    Where nothing holds old styles, overlap and travel have weights of their own.
    """
    held = "" if HOLDING[course.method] else UNHELD
    return {
        course.method: 1.0,
        f"overlap{held}": math.log(max(overlap.at_stake(style), TINY)),
        f"travel{held}": math.log(max(course.travel(overlap), TINY)),
        "hold": math.log(min(max(course.hold, _LEAST_HOLD), _MOST_HOLD)),
    }


def kept_share_of(found: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """1 / (1 + exp(-sum weight x feature)): the share of its score that a style is expected to keep, 0..1."""
    total = sum(weights[name] * value for name, value in found.items())
    return 1 / (1 + math.exp(-max(-_FARTHEST, min(_FARTHEST, total))))


def expected_of(room: Classroom, lesson: Lesson, overlap: Overlap) -> tuple[Expected | None, str]:
    """What old styles keep of a lesson as the run asks for it; or why that cannot be told.

    Args:
        lesson: before its first step.
        overlap: finite, of at least one old style.
    """
    held, config = held_by(room.run.method), room.run.optimizer
    if held is None:
        known = ", ".join(HOLDING)
        return None, f"what this method with these term_weights keeps was not measured; {known} with their own were"
    if not takes_even_steps(config.name):
        return None, f"how far {config.name} goes shows only in training; with AdamW or Lion it is foretold"
    rates = sum_of_rates(config, max(rates_of_lora(room, lesson).values()), lesson.calendar.steps)
    course = Course(*held, rates)
    ways = {"half the learning rates or steps": replace(course, rates=rates / 2)}
    if course.method != "museum":
        ways["--method museum"] = replace(course, method="museum", hold=1.0)
    least = {way: min(keeps_with(overlap, other).values()) for way, other in ways.items()}
    return Expected(keeps_with(overlap, course), least), ""


def keeps_with(overlap: Overlap, course: Course) -> dict[str, float]:
    """Old style -> the share that it is expected to keep of a lesson that is taught so."""
    old = [group for group in overlap.moved if group != NEUTRAL]
    return {style: kept_share_of(features(overlap, style, course), FITTED) for style in old}


def held_by(method: MethodConfig) -> tuple[str, float] | None:
    """Which of the methods that were measured holds old styles so, and its weights as a part of its own.

    None where none does: other terms, or only some of a method's.
    """
    given = {**METHODS[method.name], **method.weights}
    terms = {name: weight for name, weight in given.items() if weight and name != _SHAPES_ONLY}
    for name, holding in HOLDING.items():
        if set(terms) == set(holding):
            shares = [terms[term] / METHODS[name][term] for term in holding]
            return name, sum(shares) / len(shares) if shares else 1.0
    return None


def takes_even_steps(optimizer: str) -> bool:
    """Whether an optimizer by this name moves every number by about the learning rate, as Adam and Lion do."""
    name = optimizer.lower().rpartition(".")[2] or "adamw"
    return ("adam" in name or "lion" in name) and not name.startswith("dadapt")
