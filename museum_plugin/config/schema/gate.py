"""When a museum is good enough to take the place of the one before."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class GateConfig:
    """Thresholds of the verdict after a style; scores are those of the retention matrix."""

    mode: str = "on"
    """on | off: whether a museum that falls short is kept from replacing the one before."""
    kept: float = 0.6
    """Share of its score that every old style must keep, 0..1."""
    drift: float = 0.3
    """How far prompts without a trigger may move, as a share of the way to a style; 0 or more."""
    learned: float = 0.0
    """Score that the new style must reach, 0..1."""
    extra_steps: int = 0
    """Optimizer steps that may follow where the gate objects, held to the old styles; 0: none."""
    judge_every: int | None = None
    """Optimizer steps between verdicts with few pictures in the midst of a style; None: none."""
    stop_when_learned: float | None = None
    """Score, 0..1, at which a style is taught no longer if `kept` and `drift` hold, too; None: all steps are taken."""

    def __post_init__(self) -> None:
        for name in ("kept", "learned"):
            require(0 <= getattr(self, name) <= 1, f"gate_{name}: found {getattr(self, name)}, allowed: 0 to 1")
        require(self.drift >= 0, f"gate_drift: found {self.drift}, must be 0 or more")
        require(self.extra_steps >= 0, f"gate_extra_steps: found {self.extra_steps}, must be 0 or more")
        every, score = self.judge_every, self.stop_when_learned
        require(every is None or every >= 1, f"judge_every: found {every}, must be 1 or more")
        require(score is None or 0 <= score <= 1, f"stop_when_learned: found {score}, allowed: 0 to 1")
        require(
            score is None or every is not None,
            f"stop_when_learned: found {score} without judge_every, the steps after which it is looked at; give it too",
        )
