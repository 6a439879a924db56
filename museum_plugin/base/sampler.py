"""Draw pictures with classifier-free guidance: the same picture for the same prompt and seed. Ours is DDIM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.schedulers import run_scheduler
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.base.vae_memory import free_memory, pictures_at_once

DRAWING = 400
"""Numbers that the U-Net holds at once for each pixel of a picture, with guidance; SD1.5 350, SDXL 200, as `DryRun`
counts them."""


@dataclass(frozen=True)
class SamplingPlan:
    """How pictures are drawn."""

    width: int
    """Pixels."""
    height: int
    steps: int = 20
    guidance: float = 4.0
    """Weight of classifier-free guidance; 1 switches it off."""
    text: TextEncoding = TextEncoding()

    def to_dict(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        own = {name: getattr(self, name) for name in ("width", "height", "steps", "guidance")}
        return {**own, **self.text.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SamplingPlan:
        """The inverse of `to_dict`; other names do not count."""
        own = {name: values[name] for name in ("width", "height", "steps", "guidance") if name in values}
        return cls(**own, text=TextEncoding.from_dict(values))


Watcher = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""Called in every sampling step with noisy (B, C, h, w), t (B,), pred with prompt, pred with the empty prompt."""


def sampling_timesteps(total: int, steps: int) -> list[int]:
    """`steps` evenly spaced timesteps from high to low noise, the last one close to clean."""
    return [min(round((i + 0.5) * total / steps), total - 1) for i in reversed(range(steps))]


def drawn_at_once(base: BaseModel, plan: SamplingPlan, most: int) -> int:
    """How many pictures to draw at once, at most `most`: as many as have room on the card, one at least."""
    size = DRAWING * base.unet.dtype.itemsize
    return max(1, pictures_at_once(plan.width * plan.height, size, free_memory(base.device), most))


def starting_noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """(B, *shape) float32 on the CPU: each sample depends on its own seed alone, not on its place in the batch."""
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.no_grad()
def sample_latents(
    base: BaseModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    plan: SamplingPlan,
    watch: Watcher | None = None,
    *,
    negative: Sequence[str] | None = None,
) -> Tensor:
    """Draw latents for prompts, through whatever slots and LoRA are active.

    Source: DDIM (arXiv:2010.02502), eta = 0; classifier-free guidance (arXiv:2207.12598).

    Args:
        prompts, seeds: one of each for each picture.
        watch: sees every state of the trajectory and both predictions.
        negative: what guidance leads away from, for each picture; None: the empty prompt.
    Returns:
        (B, C, h, w) scaled latents, float32, on the base's device.
    """
    denoiser = Denoiser(base)
    device = base.device
    shape = (base.vae.config.latent_channels, plan.height // base.latent_factor, plan.width // base.latent_factor)
    x = starting_noise(shape, seeds).to(device)
    states = guidance_states(base, prompts, negative, plan.text)
    timesteps = sampling_timesteps(denoiser.timesteps, plan.steps)
    for now, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        t = torch.full((len(prompts),), now, device=device)
        if plan.guidance == 1 and watch is None:
            guided = denoiser.predict(x, t, states[: len(prompts)])
        else:
            conditional, empty = denoiser.predict(x.repeat(2, 1, 1, 1), t.repeat(2), states).chunk(2)
            guided = empty + plan.guidance * (conditional - empty)
            if watch is not None:
                watch(x, t, conditional, empty)
        clean = denoiser.predict_x0(x, guided, t)
        if following is None:
            return clean
        noise = implied_noise(denoiser, x, clean, t)
        x = denoiser.add_noise(clean, noise, torch.full_like(t, following))
    raise AssertionError("a plan has at least one step")


def guidance_states(
    base: BaseModel, prompts: Sequence[str], negative: Sequence[str] | None, text: TextEncoding
) -> TextStates:
    """Of 2B prompts: the text states of the prompts, then those that guidance leads away from."""
    if negative is not None and any(negative):
        return encode_prompts(base, [*prompts, *negative], text)
    states = encode_prompts(base, [*prompts, ""], text)
    return TextStates.cat([states[:-1], states[-1:].repeated(len(prompts))])


@torch.no_grad()
def sample_with(
    name: str,
    base: BaseModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    plan: SamplingPlan,
    negative: Sequence[str] | None = None,
) -> Tensor:
    """As `sample_latents`, with the sampler that sd-scripts calls by this name; "ddim" is ours."""
    if name == "ddim":
        return sample_latents(base, prompts, seeds, plan, negative=negative)
    denoiser, states = Denoiser(base), guidance_states(base, prompts, negative, plan.text)

    def predict(noisy: Tensor, t: Tensor) -> Tensor:
        if plan.guidance == 1:
            return denoiser.predict(noisy, t, states[: len(prompts)])
        conditional, empty = denoiser.predict(noisy.repeat(2, 1, 1, 1), t.repeat(2), states).chunk(2)
        return empty + plan.guidance * (conditional - empty)

    shape = (base.vae.config.latent_channels, plan.height // base.latent_factor, plan.width // base.latent_factor)
    return run_scheduler(name, base, plan.steps, seeds, shape, predict)


def implied_noise(denoiser: Denoiser, noisy: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The noise that turns `clean` into `noisy` at t: the inverse of `Denoiser.add_noise`, (B, C, h, w)."""
    level = denoiser.alpha_bar(t).view(-1, 1, 1, 1)
    return (noisy - level.sqrt() * clean) / (1 - level).sqrt()
