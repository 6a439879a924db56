"""The denoising loss."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class LossConfig:
    """The denoising loss."""

    min_snr_gamma: float | None = None
    noise_offset: float | None = None
    prior_loss_weight: float = 1.0
    """Factor of the loss of regularisation pictures."""

    def __post_init__(self) -> None:
        require(
            self.min_snr_gamma is None or self.min_snr_gamma > 0,
            f"min_snr_gamma: found {self.min_snr_gamma}, must be greater than 0",
        )
        require(self.prior_loss_weight >= 0, f"prior_loss_weight: found {self.prior_loss_weight}, must be 0 or more")
