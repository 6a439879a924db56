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
    """Latents drawn for each old style, as long as there are few of them; see `limit`."""
    limit: int = 192
    """Latents drawn for all old styles together, so that a style does not cost more the more there are."""
    neutral: int = 32
    """Latents drawn without any trigger."""
    batch_size: int | None = None
    """Latents of the bank in every step; None: see `anchors_at`."""
    apart: bool = False
    """Whether these latents have a pass of their own."""
    sampling_steps: int = 20
    guidance: float = 4.0

    def __post_init__(self) -> None:
        for name in ("per_style", "neutral"):
            require(getattr(self, name) >= 0, f"replay_{name}: found {getattr(self, name)}, must be 0 or more")
        require(self.limit >= 1, f"replay_limit: found {self.limit}, must be 1 or more")
        require(
            self.batch_size is None or self.batch_size >= 1,
            f"replay_batch_size: found {self.batch_size}, must be 1 or more",
        )
        require(self.sampling_steps >= 1, f"replay_sampling_steps: found {self.sampling_steps}, must be 1 or more")

    def latents_each(self, styles: int) -> int:
        """How many latents are drawn for each of so many old styles: even shares of the limit, at least one."""
        return min(self.per_style, max(1, self.limit // max(1, styles)))

    def anchors_at(self, pictures: int, number: int) -> int:
        """How many latents of the bank go beside so many pictures in one micro-step.

        Unless told otherwise one for two pictures, whatever the batch size: a batch of one has one in every second
        micro-step.

        Args:
            number: of the micro-step, counted from 0.
        """
        if self.batch_size is not None:
            return self.batch_size
        return (number + 1) * pictures // 2 - number * pictures // 2

    def weight_at(self, pictures: int) -> float:
        """What makes up for the micro-steps of so many pictures that have no latent of the bank: 2 for one picture."""
        return 1.0 if self.batch_size is not None else max(1.0, 2 / pictures)
