"""What a step makes of its pictures: which noise, at which t. Random numbers are drawn in sd-scripts' order."""

from __future__ import annotations

import torch
from torch import Tensor

from museum_plugin.config.schema import LossConfig
from museum_plugin.losses.noise import adaptive_offset, multires_noise, offset_noise, perturbed_noise, random_strength


def draw_noise(latents: Tensor, loss: LossConfig, rng: torch.Generator) -> Tensor:
    """The noise that the denoiser shall predict: plain, then with its offset, then with coarse parts.

    Args:
        latents: (B, C, h, w) scaled.
    Returns:
        (B, C, h, w) on the device of the latents.
    """
    noise = torch.randn(latents.shape, generator=rng).to(latents.device)
    if loss.noise_offset:
        drawn = loss.noise_offset_random_strength
        strength = random_strength(loss.noise_offset, rng) if drawn else loss.noise_offset
        scale = loss.adaptive_noise_scale
        noise = offset_noise(noise, strength if scale is None else adaptive_offset(latents, strength, scale), rng)
    if loss.multires_noise_iterations is not None:
        noise = multires_noise(noise, loss.multires_noise_iterations, loss.multires_noise_discount, rng)
    return noise


def draw_timesteps(count: int, total: int, loss: LossConfig, rng: torch.Generator) -> Tensor:
    """(count,) timesteps on the CPU, each of min_timestep .. max_timestep - 1 as often.

    Args:
        total: T of the base model.
    """
    return torch.randint(loss.min_timestep, loss.max_timestep or total, (count,), generator=rng)


def input_noise(noise: Tensor, loss: LossConfig, rng: torch.Generator) -> Tensor:
    """The noise that the latents get: the noise to be predicted, perturbed where ip_noise_gamma asks for it."""
    if not loss.ip_noise_gamma:
        return noise
    gamma = random_strength(loss.ip_noise_gamma, rng) if loss.ip_noise_gamma_random_strength else loss.ip_noise_gamma
    return perturbed_noise(noise, gamma, rng)
