"""Noise and the denoising loss."""

from __future__ import annotations

from museum_plugin.config.convert import to_float, to_positive_or_off
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("min_snr_gamma", "loss.min_snr_gamma", to_positive_or_off,
         "min-SNR loss weighting (5 is usual); 0 or nothing: off"),
    Flag("noise_offset", "loss.noise_offset", to_positive_or_off,
         "strength of noise offset (0.05 is usual); 0 or nothing: off"),
    Flag("prior_loss_weight", "loss.prior_loss_weight", to_float, "factor of the loss of regularisation pictures"),
)  # fmt: skip
