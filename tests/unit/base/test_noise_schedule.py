"""A noise schedule rescaled to end in pure noise, and everything that follows it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import DDIMScheduler

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan, sample_latents
from museum_plugin.base.schedule import with_zero_terminal_snr, zero_terminal_snr


def test_the_rescaled_schedule_at_hand_computed_points() -> None:
    # sqrt 1, 0.7, 0.4: less 0.4, times 1 / 0.6
    found = zero_terminal_snr(torch.tensor([1.0, 0.49, 0.16]))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.25, 0.0]))
    scaled = zero_terminal_snr(torch.tensor([0.81, 0.36, 0.09]))  # sqrt 0.9, 0.6, 0.3 -> 0.9, 0.45, 0
    torch.testing.assert_close(scaled, torch.tensor([0.81, 0.2025, 0.0]))


def test_the_rescaled_schedule_is_that_of_another_implementation(base: BaseModel) -> None:
    other = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=True
    )
    found = zero_terminal_snr(base.alphas_cumprod)
    torch.testing.assert_close(found, other.alphas_cumprod, atol=1e-5, rtol=1e-4)
    assert found.dtype == torch.float32


def test_a_rescaled_schedule_falls_from_the_same_start_to_nothing_and_stays(base: BaseModel) -> None:
    usual, found = base.alphas_cumprod, zero_terminal_snr(base.alphas_cumprod)
    torch.testing.assert_close(found[0], usual[0])
    assert found[-1] == 0
    assert (found.diff() < 0).all()
    assert (found[1:] < usual[1:]).all()
    torch.testing.assert_close(zero_terminal_snr(found), found)


@pytest.mark.parametrize("bad", [torch.tensor([[1.0, 0.5]]), torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.5])])
def test_what_is_no_falling_schedule_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="alphas_cumprod"):
        zero_terminal_snr(bad)


def test_only_the_schedule_of_the_base_changes(base: BaseModel) -> None:
    usual = base.alphas_cumprod.clone()
    found = with_zero_terminal_snr(base)
    assert torch.equal(base.alphas_cumprod, usual), "the base given is left as it is"
    assert torch.equal(found.alphas_cumprod, zero_terminal_snr(usual))
    assert found.unet is base.unet
    assert found.fingerprint == base.fingerprint


def test_noise_targets_and_pictures_follow_the_rescaled_schedule(base: BaseModel) -> None:
    of_v = dataclasses.replace(base, prediction_type="v_prediction")
    usual, denoiser = Denoiser(of_v), Denoiser(with_zero_terminal_snr(of_v))
    latents, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    last = torch.tensor([999])
    assert torch.equal(denoiser.add_noise(latents, noise, last), noise), "no signal is left"
    assert torch.equal(denoiser.target(latents, noise, last), -latents)
    torch.testing.assert_close(denoiser.predict_x0(noise, -latents, last), latents)
    assert not torch.equal(usual.add_noise(latents, noise, last), noise)
    plan = SamplingPlan(64, 64, steps=3)
    pictures = [sample_latents(model, ["a cat"], [0], plan) for model in (of_v, with_zero_terminal_snr(of_v))]
    assert not torch.allclose(*pictures)
    assert all(bool(picture.isfinite().all()) for picture in pictures)
