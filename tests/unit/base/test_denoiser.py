"""The diffusion process around the U-Net."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.errors import BaseModelError
from tests.tiny_museums import hooks

T = torch.tensor([0, 500, 999])


def denoiser_of(base: BaseModel, prediction_type: str = "epsilon") -> Denoiser:
    return Denoiser(dataclasses.replace(base, prediction_type=prediction_type))


def latents_and_noise() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 8, 8, generator=rng), torch.randn(3, 4, 8, 8, generator=rng)


def test_noise_is_added_by_the_schedule_of_stable_diffusion(base: BaseModel) -> None:
    latents, noise = latents_and_noise()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    level = (1 - betas).cumprod(0)[T].view(-1, 1, 1, 1)
    expected = level.sqrt() * latents + (1 - level).sqrt() * noise
    torch.testing.assert_close(denoiser_of(base).add_noise(latents, noise, T).double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(denoiser_of(base).alpha_bar(T).double(), level.flatten(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_target_implies_the_clean_latents(base: BaseModel, prediction_type: str) -> None:
    denoiser = denoiser_of(base, prediction_type)
    latents, noise = latents_and_noise()
    noisy, target = denoiser.add_noise(latents, noise, T), denoiser.target(latents, noise, T)
    torch.testing.assert_close(denoiser.predict_x0(noisy, target, T), latents, atol=2e-4, rtol=1e-3)


def test_the_target_is_noise_or_velocity(base: BaseModel) -> None:
    latents, noise = latents_and_noise()
    level = denoiser_of(base).alpha_bar(T).view(-1, 1, 1, 1)
    assert torch.equal(denoiser_of(base).target(latents, noise, T), noise)
    velocity = level.sqrt() * noise - (1 - level).sqrt() * latents
    torch.testing.assert_close(denoiser_of(base, "v_prediction").target(latents, noise, T), velocity)


def test_an_unknown_prediction_type_is_refused(base: BaseModel) -> None:
    with pytest.raises(BaseModelError, match="'sample'"):
        denoiser_of(base, "sample")


@torch.no_grad()
def test_watching_sees_each_block_of_each_pass_and_leaves_nothing_behind(base: BaseModel) -> None:
    denoiser = denoiser_of(base)
    noisy, _ = latents_and_noise()
    states = encode_prompts(base, ["a cat"] * 3)
    blocks = denoiser.feature_blocks()
    assert blocks == (*(f"down_blocks.{i}" for i in range(4)), "mid_block", *(f"up_blocks.{i}" for i in range(4)))
    plain = denoiser.predict(noisy, T, states)
    with suppress(ZeroDivisionError), denoiser.watch(("mid_block", "up_blocks.3")) as features:
        assert hooks(base) == 2
        for _ in range(2):
            watched = denoiser.predict(noisy, T, states)
        assert [feature.shape for feature in features] == [(3, 16, 1, 1), (3, 8, 8, 8)] * 2
        raise ZeroDivisionError
    assert hooks(base) == 0
    assert torch.equal(plain, watched)
