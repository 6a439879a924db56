"""How far predictions have moved on fixed inputs: the same noisy latents, noise levels and prompts for every museum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.sampler import starting_noise
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.museum.museum import Museum

NOISE_LEVELS = (0.2, 0.4, 0.6, 0.8)
"""Parts of the noise schedule's length at which predictions are compared. Source: ours."""
_NOISE_SEED = 70_001
"""Added to a picture's seed, so that its noise is not what it was drawn from."""


@dataclass(frozen=True, eq=False)
class Triples:
    """Inputs of the U-Net, K noise levels for each of N pictures."""

    noisy: Tensor
    """(K * N, C, h, w), level by level."""
    t: Tensor
    """(K * N,)"""

    @property
    def levels(self) -> int:
        """K."""
        return len(self.t.unique())


def fixed_triples(
    denoiser: Denoiser, latents: Tensor, seeds: Sequence[int], levels: Sequence[float] = NOISE_LEVELS
) -> Triples:
    """Latents under noise of their own seeds: the same triples for the same numbers.

    Args:
        latents: (N, C, h, w) clean.
        seeds: one for each picture.
        levels: parts of the schedule's length, 0 .. 1, K of them, all different.
    """
    noise = starting_noise(latents.shape[1:], [seed + _NOISE_SEED for seed in seeds]).to(latents.device)
    steps = [min(round(level * denoiser.timesteps), denoiser.timesteps - 1) for level in levels]
    t = torch.tensor(steps, device=latents.device).repeat_interleave(len(latents))
    noisy = denoiser.add_noise(latents.repeat(len(levels), 1, 1, 1), noise.repeat(len(levels), 1, 1, 1), t)
    return Triples(noisy, t)


@torch.no_grad()
def predictions(
    museum: Museum, triples: Triples, prompts: Sequence[str], text: TextEncoding, at_once: int | None = None
) -> Tensor:
    """What a museum predicts, (K * N, C, h, w) float32 on the CPU; inside `disabled()`, what the bare base does.

    Args:
        museum: attached.
        prompts: one for each of the N pictures.
        at_once: how many pictures go through the U-Net together; None: all N.
    """
    base, denoiser = museum.base, Denoiser(museum.base)
    states = encode_prompts(base, prompts, text)
    count = at_once or len(prompts)
    parts = [
        denoiser.predict(
            noisy[at : at + count].to(base.device), t[at : at + count].to(base.device), states[at : at + count]
        )
        for noisy, t in zip(triples.noisy.chunk(triples.levels), triples.t.chunk(triples.levels), strict=True)
        for at in range(0, len(prompts), count)
    ]
    return torch.cat(parts).cpu()


def prediction_effect(pred: Tensor, other: Tensor) -> float:
    """sqrt(mean((pred - other)^2)), in units of the predicted noise; >= 0.

    Raises:
        ValueError: shapes do not agree.
    """
    if pred.shape != other.shape:
        raise ValueError(f"predictions of shapes {tuple(pred.shape)} and {tuple(other.shape)} cannot be compared")
    return (pred.double() - other.double()).square().mean().sqrt().item()


def prediction_drift(moved: float, effect: float) -> float:
    """moved / effect: how far predictions went, as a part of what the style does to the base's; >= 0. Source: ours.

    0 = nothing moved; at 1 they have moved as far as the style itself lies from the base. Where the style does nothing
    to the base's predictions there is no scale: 0 if nothing moved, else 1.

    Args:
        moved: `prediction_effect` of the museum now against the museum before, with a style's prompts; or of the museum
            against the bare base without a trigger.
        effect: `prediction_effect` of the museum before, with the style's prompts, against the bare base without them;
            the mean of it over the styles where there is no trigger.
    """
    return moved / effect if effect > 0 else float(moved > 0)
