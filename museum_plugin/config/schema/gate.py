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

    def __post_init__(self) -> None:
        for name in ("kept", "learned"):
            require(0 <= getattr(self, name) <= 1, f"gate_{name}: found {getattr(self, name)}, allowed: 0 to 1")
        require(self.drift >= 0, f"gate_drift: found {self.drift}, must be 0 or more")
