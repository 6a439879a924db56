"""How scores went while a style was learned: the points of a curve, as the record of the style keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from museum_plugin.judge.gate import TELLING
from museum_plugin.judge.matrix import percent
from museum_plugin.judge.retention import NO_TRIGGER, Verdict
from museum_plugin.museum.ledger import StyleRecord

COURSE = "course"
"""Field of a style's record: a list of tables, one for each point, by rising step."""


@dataclass(frozen=True)
class Point:
    """What a few pictures showed after some steps of a style."""

    step: int
    """Optimizer steps of the style that were done."""
    score: float
    """Of the style that is being learned, 0..1; see `style_score`."""
    kept: dict[str, float]
    """Old style -> share of what it scored on the same few pictures before the first step; see `kept_share`. Styles
    that scored too little then are left out."""
    drift: float
    """Of prompts without a trigger; see `relative_drift`."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"step": self.step, "score": self.score, "kept": dict(self.kept), "drift": self.drift}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Point:
        """What `to_dict` gave."""
        return cls(told["step"], told["score"], dict(told["kept"]), told["drift"])

    def __str__(self) -> str:
        """In words."""
        kept = "".join(f"{name} keeps {percent(share)}, " for name, share in self.kept.items())
        return f"{self.score:.2f}, {kept}{NO_TRIGGER}: drift {self.drift:.2f}"


def point_of(verdict: Verdict, before: Mapping[str, float], style: str, step: int) -> Point:
    """The point of a verdict in the midst of a style.

    Args:
        before: the score of each old style on the same pictures before the first step.
    """
    telling = {name: was for name, was in before.items() if was >= TELLING}
    return Point(step, verdict.scores[style], verdict.kept(telling), verdict.drift)


def course_of(record: StyleRecord) -> list[Point]:
    """The points of a style by rising step; none where it was taught without `judge_every`."""
    return [Point.from_dict(point) for point in record.extra.get(COURSE, [])]
