"""When a museum is good enough to take the place of the one before."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class GateConfig:
    """Thresholds of the verdict after a style; scores are those of the retention matrix. Source of the defaults: ours,
    measured; see docs/judge.md."""

    mode: str = "on"
    """on | off: whether a museum that falls short is kept from replacing the one before."""
    effect: float = 0.58
    """Share of its effect on the base's predictions that every old style must keep, at most 1; see `effect_kept`."""
    pictures: float = 0.6
    """How far the pictures of an old style may move, as a share of its way from the base; 0 or more."""
    kept: float | None = None
    """Share of its score that every old style must keep, 0..1; None: 0.6 of those of which nothing else is known."""
    drift: float = 0.3
    """How far pictures without a trigger may move, as a share of the way to a style; 0 or more."""
    neutral: float = 0.5
    """How far predictions without a trigger may move, as a share of what a style does; 0 or more."""
    learned: float = 0.0
    """Score that the new style must reach, 0..1."""
    extra_steps: int = 0
    """Optimizer steps that may follow where the gate objects, held to the old styles; 0: none."""
    judge_every: int | None = None
    """Optimizer steps between verdicts with few pictures in the midst of a style; None: none."""
    stop_when_learned: float | None = None
    """Score, 0..1, at which a style is taught no longer if `kept` and `drift` hold, too; None: all steps are taken."""

    def __post_init__(self) -> None:
        for name, share in (("kept", self.kept), ("learned", self.learned)):
            require(share is None or 0 <= share <= 1, f"gate_{name}: found {share}, allowed: 0 to 1")
        require(self.effect <= 1, f"gate_effect: found {self.effect}, must be 1 or less")
        for name in ("pictures", "drift", "neutral"):
            require(getattr(self, name) >= 0, f"gate_{name}: found {getattr(self, name)}, must be 0 or more")
        require(self.extra_steps >= 0, f"gate_extra_steps: found {self.extra_steps}, must be 0 or more")
        every, score = self.judge_every, self.stop_when_learned
        require(every is None or every >= 1, f"judge_every: found {every}, must be 1 or more")
        require(score is None or 0 <= score <= 1, f"stop_when_learned: found {score}, allowed: 0 to 1")
        require(
            score is None or every is not None,
            f"stop_when_learned: found {score} without judge_every, the steps after which it is looked at; give it too",
        )
