"""Noise and the denoising loss."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_count_or_off, to_float, to_int, to_positive_or_off, to_text
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.schema.loss import HUBER_SCHEDULES, LOSS_TYPES

FLAGS: tuple[Flag, ...] = (
    Flag("min_snr_gamma", "loss.min_snr_gamma", to_positive_or_off,
         "min-SNR loss weighting (5 is usual); 0 or nothing: off"),
    Flag("scale_v_pred_loss_like_noise_pred", "loss.scale_v_pred_loss_like_noise_pred", to_bool,
         "weigh timesteps as a noise prediction's loss does; for bases that predict v"),
    Flag("v_pred_like_loss", "loss.v_pred_like_loss", to_positive_or_off,
         "weight of an added part of the loss that is weighted as a v prediction's; 0 or nothing: off"),
    Flag("debiased_estimation_loss", "loss.debiased_estimation_loss", to_bool,
         "debiased estimation: steps with much noise weigh more"),
    Flag("loss_type", "loss.loss_type", to_text, "how prediction and target are compared", LOSS_TYPES),
    Flag("huber_schedule", "loss.huber_schedule", to_text,
         "how the threshold of huber and smooth_l1 depends on the timestep", HUBER_SCHEDULES),
    Flag("huber_c", "loss.huber_c", to_float, "threshold of huber and smooth_l1 where it is lowest"),
    Flag("huber_scale", "loss.huber_scale", to_float,
         "factor of that threshold; huber_schedule snr does without"),
    Flag("noise_offset", "loss.noise_offset", to_positive_or_off,
         "strength of noise offset (0.05 is usual); 0 or nothing: off"),
    Flag("noise_offset_random_strength", "loss.noise_offset_random_strength", to_bool,
         "draw the strength of each step between 0 and noise_offset"),
    Flag("adaptive_noise_scale", "loss.adaptive_noise_scale", to_positive_or_off,
         "added to noise_offset for each unit of a latent channel's mean; may be negative; 0 or nothing: off"),
    Flag("multires_noise_iterations", "loss.multires_noise_iterations", to_count_or_off,
         "parts of multi-resolution noise (6 to 10 are usual); 0 or nothing: off"),
    Flag("multires_noise_discount", "loss.multires_noise_discount", to_float,
         "factor from one part of multi-resolution noise to the next coarser one, 0 to 1"),
    Flag("ip_noise_gamma", "loss.ip_noise_gamma", to_positive_or_off,
         "strength of input perturbation noise, 0 to 1 (0.1 is usual); 0 or nothing: off"),
    Flag("ip_noise_gamma_random_strength", "loss.ip_noise_gamma_random_strength", to_bool,
         "draw the strength of each step between 0 and ip_noise_gamma"),
    Flag("min_timestep", "loss.min_timestep", to_int, "first timestep that is trained"),
    Flag("max_timestep", "loss.max_timestep", to_int,
         "timestep at which training ends, itself not trained; nothing: all of them"),
    Flag("zero_terminal_snr", "loss.zero_terminal_snr", to_bool,
         "rescale the noise schedule to end in pure noise, for training, bank and previews; for bases that predict v"),
    Flag("prior_loss_weight", "loss.prior_loss_weight", to_float, "factor of the loss of regularisation pictures"),
    Flag("masked_loss", "loss.masked_loss", to_bool,
         "the masks of conditioning_data_dir (red channel) weigh the loss of each place"),
)  # fmt: skip
