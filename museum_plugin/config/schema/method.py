"""How old styles are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class MethodConfig:
    """How old styles are kept: a method by name, and the weight of each of its terms."""

    name: str = "museum"
    weights: dict[str, float] = field(default_factory=dict)
    """Term name -> weight, over the method's own defaults; 0 switches a term off."""


@dataclass(frozen=True)
class ReplayConfig:
    """The bank of latents sampled from the previous museum (self-replay)."""

    per_style: int = 32
    """Latents drawn for each old style."""
    neutral: int = 32
    """Latents drawn without any trigger."""
    batch_size: int = 4
    """Latents of the bank in every step."""
    sampling_steps: int = 20
    guidance: float = 4.0

    def __post_init__(self) -> None:
        for name in ("per_style", "neutral"):
            require(getattr(self, name) >= 0, f"replay_{name}: found {getattr(self, name)}, must be 0 or more")
        require(self.batch_size >= 1, f"replay_batch_size: found {self.batch_size}, must be 1 or more")
        require(self.sampling_steps >= 1, f"replay_sampling_steps: found {self.sampling_steps}, must be 1 or more")
