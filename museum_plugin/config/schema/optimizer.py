"""How parameters move."""

from __future__ import annotations

from dataclasses import dataclass, field

from museum_plugin.config.schema.require import require

NEEDS_RATIO = "cosine_with_min_lr"
NEEDS_STEP_RULES = "piecewise_constant"


@dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move."""

    name: str = "AdamW"
    arguments: dict[str, object] = field(default_factory=dict)
    unet_learning_rate: float = 1e-4
    text_encoder_learning_rate: float | tuple[float, ...] = 0.0
    """One for all text encoders, or one for each."""
    schedule: str = "cosine"
    schedule_class: str = ""
    """A class of torch.optim.lr_scheduler or an import path, in place of `schedule`."""
    schedule_arguments: dict[str, object] = field(default_factory=dict)
    """What the schedule takes besides."""
    schedule_cycles: int = 1
    """Of cosine_with_restarts; half of it, of cosine_with_min_lr and warmup_stable_decay."""
    schedule_power: float = 1.0
    """Of polynomial."""
    schedule_timescale: int | None = None
    """Of inverse_sqrt, in steps; None: the warm-up's, else 10000."""
    schedule_min_ratio: float | None = None
    """Last rate over the first, of cosine_with_min_lr and warmup_stable_decay."""
    warmup_steps: float = 0
    """Below 1 it is a share of all steps."""
    decay_steps: float = 0
    """The last part of warmup_stable_decay; below 1 it is a share of all steps."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this total norm; 0 does not clip."""

    def __post_init__(self) -> None:
        for name, value in (
            ("unet_lr", self.unet_learning_rate),
            ("text_encoder_lr", min(self.text_encoder_rates)),
            ("max_grad_norm", self.max_grad_norm),
            ("lr_warmup_steps", self.warmup_steps),
            ("lr_decay_steps", self.decay_steps),
            ("lr_scheduler_min_lr_ratio", self.schedule_min_ratio or 0),
        ):
            require(value >= 0, f"{name}: found {value}, must be 0 or more")
        for name, value in (
            ("lr_scheduler_num_cycles", self.schedule_cycles),
            ("lr_scheduler_timescale", 1 if self.schedule_timescale is None else self.schedule_timescale),
        ):
            require(value >= 1, f"{name}: found {value}, must be 1 or more")
        require(self.schedule_power > 0, f"lr_scheduler_power: found {self.schedule_power}, must be greater than 0")
        if not self.schedule_class:
            self._check_schedule()

    @property
    def text_encoder_rates(self) -> tuple[float, ...]:
        """The learning rates of the text encoders, in order; the last one is also that of all further ones."""
        rate = self.text_encoder_learning_rate
        return rate if isinstance(rate, tuple) else (rate,)

    def _check_schedule(self) -> None:
        require(
            self.schedule != "reduce_lr_on_plateau",
            "lr_scheduler: found 'reduce_lr_on_plateau', which would follow a step's loss, and that jumps with the "
            "noise level of the step; cosine or constant_with_warmup is the usual choice",
        )
        rates = {"min_lr", "min_lr_rate"} & set(self.schedule_arguments)
        require(
            self.schedule != NEEDS_RATIO or self.schedule_min_ratio is not None or bool(rates),
            f"lr_scheduler: found {NEEDS_RATIO!r}, which needs lr_scheduler_min_lr_ratio (0.1 is usual)",
        )
        require(
            self.schedule != NEEDS_STEP_RULES or "step_rules" in self.schedule_arguments,
            f"lr_scheduler: found {NEEDS_STEP_RULES!r}, which needs lr_scheduler_args, such as "
            "step_rules=\"'1:100,0.1:200,0.01'\" (factor:step, ..., last factor)",
        )
