"""Noise, timesteps and the denoising loss."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.require import require

LOSS_TYPES = ("l2", "l1", "huber", "smooth_l1")
HUBER_SCHEDULES = ("snr", "exponential", "constant")


@dataclass(frozen=True)
class LossConfig:
    """What noise is added at which t, and how the prediction is compared with it. Names are sd-scripts'."""

    noise_offset: float | None = None
    """Standard deviation of a shift of each channel of the noise."""
    noise_offset_random_strength: bool = False
    """Each step draws its offset between 0 and noise_offset."""
    adaptive_noise_scale: float | None = None
    """What noise_offset gains for each unit of a channel's mean latent; negative: what it loses."""
    multires_noise_iterations: int | None = None
    """How many coarser parts the noise gets at most."""
    multires_noise_discount: float = 0.3
    """Factor from one part to the next coarser one, 0..1."""
    ip_noise_gamma: float | None = None
    """Standard deviation of noise that the input gets beyond the target's, 0..1."""
    ip_noise_gamma_random_strength: bool = False
    """Each step draws its strength between 0 and ip_noise_gamma."""
    min_timestep: int = 0
    """The first t that is trained."""
    max_timestep: int | None = None
    """The first t that is not trained any more; None: all of the base model's."""
    zero_terminal_snr: bool = False
    """The noise schedule is rescaled to end in pure noise; for bases that predict v."""
    loss_type: str = "l2"
    """l2 | l1 | huber | smooth_l1."""
    huber_schedule: str = "snr"
    """snr | exponential | constant: how the threshold of huber and smooth_l1 depends on t."""
    huber_c: float = 0.1
    """That threshold where it is lowest (constant: everywhere)."""
    huber_scale: float = 1.0
    """Factor of that threshold, but for huber_schedule snr."""
    min_snr_gamma: float | None = None
    scale_v_pred_loss_like_noise_pred: bool = False
    """For bases that predict v."""
    v_pred_like_loss: float | None = None
    """Weight of a v-like part of the loss; for bases that predict epsilon."""
    debiased_estimation_loss: bool = False

    @property
    def for_v_prediction(self) -> tuple[str, ...]:
        """Names of the options in use that only a base that predicts v can be trained with."""
        return tuple(name for name in ("zero_terminal_snr", "scale_v_pred_loss_like_noise_pred") if getattr(self, name))

    @property
    def for_epsilon(self) -> tuple[str, ...]:
        """Names of the options in use that only a base that predicts epsilon can be trained with."""
        return ("v_pred_like_loss",) if self.v_pred_like_loss is not None else ()

    @property
    def idle(self) -> tuple[tuple[str, str], ...]:
        """(option, what it needs) for each option that was asked for and changes nothing."""
        return tuple(
            (f"{name}_random_strength", name)
            for name in ("noise_offset", "ip_noise_gamma")
            if getattr(self, f"{name}_random_strength") and not getattr(self, name)
        )

    prior_loss_weight: float = 1.0
    """Factor of the loss of regularisation pictures."""
    masked_loss: bool = False
    """Masks of `conditioning_data_dir` weigh the loss of each place."""

    def __post_init__(self) -> None:
        self._check_noise()
        self._check_timesteps()
        self._check_loss()

    def _check_noise(self) -> None:
        require(
            self.adaptive_noise_scale is None or bool(self.noise_offset),
            f"adaptive_noise_scale: found {self.adaptive_noise_scale}, which needs noise_offset; give both or none",
        )
        iterations = self.multires_noise_iterations
        require(
            iterations is None or iterations >= 1,
            f"multires_noise_iterations: found {iterations}, must be 1 or more",
        )
        for name in ("ip_noise_gamma", *(("multires_noise_discount",) if iterations else ())):
            value = getattr(self, name)
            require(value is None or 0 <= value <= 1, f"{name}: found {value}, must lie between 0 and 1")

    def _check_timesteps(self) -> None:
        require(self.min_timestep >= 0, f"min_timestep: found {self.min_timestep}, must be 0 or more")
        require(
            self.max_timestep is None or self.max_timestep >= 1,
            f"max_timestep: found {self.max_timestep}, must be 1 or more",
        )
        require(
            self.max_timestep is None or self.min_timestep < self.max_timestep,
            f"min_timestep: found {self.min_timestep}, must be less than max_timestep ({self.max_timestep})",
        )

    def _check_loss(self) -> None:
        for name, allowed in (("loss_type", LOSS_TYPES), ("huber_schedule", HUBER_SCHEDULES)):
            value = getattr(self, name)
            require(value in allowed, f"{name}: found {value!r}, allowed: {', '.join(allowed)}")
        used = ("huber_c", "huber_scale") if self.loss_type in ("huber", "smooth_l1") else ()
        for name in ("min_snr_gamma", "v_pred_like_loss", *used):
            value = getattr(self, name)
            require(value is None or value > 0, f"{name}: found {value}, must be greater than 0")
        for name, other in ((name, other) for name in self.for_epsilon for other in self.for_v_prediction):
            require(
                False,
                f"{name}: cannot go with {other}, for no base predicts both epsilon and v; keep one of them",
            )
        require(self.prior_loss_weight >= 0, f"prior_loss_weight: found {self.prior_loss_weight}, must be 0 or more")
