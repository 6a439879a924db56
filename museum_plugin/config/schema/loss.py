"""The denoising loss."""

from __future__ import annotations

from dataclasses import dataclass

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class LossConfig:
    """The denoising loss."""

    min_snr_gamma: float | None = None
    noise_offset: float | None = None
    masked_loss: bool = False
    """Masks of `conditioning_data_dir` weigh the loss of each place."""

    def __post_init__(self) -> None:
        require(
            self.min_snr_gamma is None or self.min_snr_gamma > 0,
            f"min_snr_gamma: found {self.min_snr_gamma}, must be greater than 0",
        )
