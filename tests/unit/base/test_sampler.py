"""DDIM with classifier-free guidance."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from museum_plugin.base import sampler
from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import (
    DRAWING,
    SamplingPlan,
    drawn_at_once,
    implied_noise,
    sample_latents,
    sampling_timesteps,
    starting_noise,
)
from museum_plugin.base.text_encoding import TextEncoding

PLAN = SamplingPlan(64, 64, steps=3, guidance=3.0)


def test_timesteps_are_evenly_spaced_from_noise_to_clean() -> None:
    assert sampling_timesteps(1000, 4) == [875, 625, 375, 125]
    assert sampling_timesteps(1000, 1) == [500]
    assert [sampling_timesteps(1000, 1000)[i] for i in (0, -1)] == [999, 0]


def test_the_noise_of_a_seed_does_not_depend_on_its_batch() -> None:
    assert torch.equal(starting_noise((4, 8, 8), [3, 1])[1], starting_noise((4, 8, 8), [1])[0])


@torch.no_grad()
def test_a_picture_is_that_of_the_reference_scheduler(base: BaseModel) -> None:
    """diffusers' DDIM, driven by the same predictions at the same timesteps."""
    scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=False, set_alpha_to_one=True)
    scheduler.alphas_cumprod = base.alphas_cumprod
    denoiser, x = Denoiser(base), starting_noise((4, 8, 8), [7])
    states = encode_prompts(base, ["a red cat", ""])
    times = sampling_timesteps(1000, 3)
    for now, following in zip(times, [*times[1:], -1], strict=True):
        conditional, empty = denoiser.predict(x.repeat(2, 1, 1, 1), torch.tensor([now] * 2), states).chunk(2)
        guided = empty + 3.0 * (conditional - empty)
        scheduler.num_inference_steps = 1
        scheduler.config.num_train_timesteps = now - following  # so that its previous timestep is ours
        x = scheduler.step(guided, now, x).prev_sample

    torch.testing.assert_close(sample_latents(base, ["a red cat"], [7], PLAN), x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"steps": 4}, {"guidance": 1.0}, {"text": TextEncoding(clip_skip=2)}, {"width": 128}],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_plan_counts(base: BaseModel, change: dict[str, Any]) -> None:
    usual = sample_latents(base, ["a red cat"], [7], PLAN)
    assert torch.equal(usual, sample_latents(base, ["a red cat"], [7], PLAN))
    changed = sample_latents(base, ["a red cat"], [7], dataclasses.replace(PLAN, **change))
    assert changed.shape[3] == change.get("width", 64) // 8
    assert changed.shape != usual.shape or not torch.equal(changed, usual)


@pytest.mark.parametrize("text", [TextEncoding(), TextEncoding(2, 150, weighted=True)])
def test_a_plan_survives_the_ledger(text: TextEncoding) -> None:
    plan = SamplingPlan(64, 128, steps=3, guidance=2.5, text=text)
    assert SamplingPlan.from_dict({**plan.to_dict(), "prompts": []}) == plan


def test_what_earlier_ledgers_hold_is_still_written_and_read() -> None:
    old = {"width": 64, "height": 64, "steps": 3, "guidance": 3.0, "clip_skip": 2}
    assert SamplingPlan.from_dict(old).to_dict() == old


def test_without_guidance_the_prompt_alone_counts(base: BaseModel) -> None:
    plan = dataclasses.replace(PLAN, guidance=1.0)
    alone = sample_latents(base, ["a red cat"], [7], plan)
    watched = sample_latents(base, ["a red cat"], [7], plan, lambda *_: None)
    torch.testing.assert_close(alone, watched, atol=1e-4, rtol=1e-4)


def test_a_watcher_sees_every_state_with_both_predictions(base: BaseModel) -> None:
    seen: list[tuple[Tensor, ...]] = []
    sample_latents(base, ["a red cat", "a dog"], [1, 2], PLAN, lambda *state: seen.append(state))
    assert [state[1].tolist() for state in seen] == [[833, 833], [500, 500], [167, 167]]
    noisy, t, conditional, empty = seen[0]
    assert torch.equal(noisy, starting_noise((4, 8, 8), [1, 2]))
    with torch.no_grad():
        expected = Denoiser(base).predict(noisy, t, encode_prompts(base, ["a red cat", "a dog"]))
    torch.testing.assert_close(conditional, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        empty, Denoiser(base).predict(noisy, t, encode_prompts(base, [""] * 2)).detach(), atol=1e-5, rtol=1e-4
    )


def test_implied_noise_inverts_adding_noise(base: BaseModel) -> None:
    rng, t = torch.Generator().manual_seed(0), torch.tensor([100, 900])
    clean, noise = torch.randn(2, 4, 8, 8, generator=rng), torch.randn(2, 4, 8, 8, generator=rng)
    denoiser = Denoiser(base)
    found = implied_noise(denoiser, denoiser.add_noise(clean, noise, t), clean, t)
    torch.testing.assert_close(found, noise, atol=1e-4, rtol=1e-4)


def test_where_memory_is_short_fewer_pictures_are_drawn_at_once(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SamplingPlan(64, 32)
    assert drawn_at_once(base, plan, 8) == 8  # no card here, so there is no telling
    one = 64 * 32 * DRAWING * 4
    for free, expected in ((100 * one, 8), (4 * one, 3), (one, 1), (0, 1)):
        monkeypatch.setattr(sampler, "free_memory", lambda device, free=free: free)
        assert drawn_at_once(base, plan, 8) == expected
    monkeypatch.setattr(sampler, "free_memory", lambda device: 4 * one)
    assert drawn_at_once(base, SamplingPlan(64, 64), 8) == 1
