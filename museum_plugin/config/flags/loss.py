"""Noise and the denoising loss."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_positive_or_off
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("min_snr_gamma", "loss.min_snr_gamma", to_positive_or_off,
         "min-SNR loss weighting (5 is usual); 0 or nothing: off"),
    Flag("noise_offset", "loss.noise_offset", to_positive_or_off,
         "strength of noise offset (0.05 is usual); 0 or nothing: off"),
    Flag("masked_loss", "loss.masked_loss", to_bool,
         "the masks of conditioning_data_dir (red channel) weigh the loss of each place"),
)  # fmt: skip
