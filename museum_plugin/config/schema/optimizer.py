"""How parameters move."""

from __future__ import annotations

from dataclasses import dataclass, field

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move."""

    name: str = "AdamW"
    arguments: dict[str, object] = field(default_factory=dict)
    unet_learning_rate: float = 1e-4
    text_encoder_learning_rate: float = 0.0
    schedule: str = "cosine"
    warmup_steps: float = 0
    """Below 1 it is a share of all steps."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this total norm; 0 does not clip."""

    def __post_init__(self) -> None:
        for name, value in (
            ("unet_lr", self.unet_learning_rate),
            ("text_encoder_lr", self.text_encoder_learning_rate),
            ("max_grad_norm", self.max_grad_norm),
            ("lr_warmup_steps", self.warmup_steps),
        ):
            require(value >= 0, f"{name}: found {value}, must be 0 or more")
