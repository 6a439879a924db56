"""sd-scripts' samplers, on the base's own noise schedule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan, sample_latents, sample_with
from museum_plugin.base.schedulers import multistep_weights, run_scheduler
from museum_plugin.config.schema import SAMPLERS

PLAN = SamplingPlan(64, 64, steps=4, guidance=3.0)
OTHERS = [name for name in SAMPLERS if name != "ddim" and not name.startswith("k_")]


@pytest.mark.parametrize("name", OTHERS)
def test_every_sampler_finds_the_only_picture_there_is(base: BaseModel, name: str) -> None:
    """With a perfect denoiser of one latent, every trajectory ends at that latent."""
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    denoiser = Denoiser(base)

    def perfect(noisy: Tensor, t: Tensor) -> Tensor:
        level = base.alphas_cumprod[t.round().long()].view(-1, 1, 1, 1)
        return (noisy - level.sqrt() * latent) / (1 - level).sqrt()

    assert denoiser.prediction_type == "epsilon"
    found = run_scheduler(name, base, 20, [3, 4], (4, 8, 8), perfect)
    assert found.shape == (2, 4, 8, 8)
    torch.testing.assert_close(found, latent.expand(2, -1, -1, -1), atol=0.15, rtol=0)


@pytest.mark.parametrize("name", OTHERS)
def test_a_picture_depends_on_prompt_seed_and_negative_prompt(base: BaseModel, name: str) -> None:
    usual = sample_with(name, base, ["a red cat"], [7], PLAN)
    assert usual.dtype == torch.float32
    assert bool(usual.isfinite().all())
    assert torch.equal(usual, sample_with(name, base, ["a red cat"], [7], PLAN))
    assert torch.equal(usual, sample_with(name, base, ["a red cat"], [7], PLAN, [""]))
    for changed in (
        sample_with(name, base, ["a blue fish"], [7], PLAN),
        sample_with(name, base, ["a red cat"], [8], PLAN),
        sample_with(name, base, ["a red cat"], [7], PLAN, ["a blue fish"]),
        sample_with(name, base, ["a red cat"], [7], SamplingPlan(64, 64, steps=5, guidance=3.0)),
        sample_with(name, base, ["a red cat"], [7], SamplingPlan(64, 64, steps=4, guidance=1.0)),
    ):
        assert not torch.equal(usual, changed)


def test_samplers_differ_and_ours_is_ddim(base: BaseModel) -> None:
    drawn = {name: sample_with(name, base, ["a red cat"], [7], PLAN) for name in SAMPLERS}
    assert torch.equal(drawn["ddim"], sample_latents(base, ["a red cat"], [7], PLAN))
    for name in ("lms", "euler", "euler_a", "dpm_2", "dpm_2_a"):
        assert torch.equal(drawn[f"k_{name}"], drawn[name])
    plain = [drawn[name] for name in ("ddim", *OTHERS)]
    assert not any(torch.equal(one, other) for i, one in enumerate(plain) for other in plain[:i])


def test_a_negative_prompt_takes_the_place_of_the_empty_one(base: BaseModel) -> None:
    plain = sample_latents(base, ["a red cat"] * 2, [7, 8], PLAN)
    assert torch.equal(plain, sample_latents(base, ["a red cat"] * 2, [7, 8], PLAN, negative=["", ""]))
    one = sample_latents(base, ["a red cat"] * 2, [7, 8], PLAN, negative=["", "a blue fish"])
    torch.testing.assert_close(one[0], plain[0])
    assert (one[1] - plain[1]).abs().max() > 1e-3
    alone = SamplingPlan(64, 64, steps=4, guidance=1.0)
    without = sample_latents(base, ["a red cat"], [7], alone)
    assert torch.equal(without, sample_latents(base, ["a red cat"], [7], alone, negative=["a blue fish"]))


def test_multistep_weights() -> None:
    sigmas = np.array([8.0, 4.0, 2.0, 1.0])
    assert multistep_weights(sigmas, 0, 1) == pytest.approx([-4.0])
    # the line through (2, a) and (4, b), from 2 to 1: at the middle 1.5 it is 1.25 a - 0.25 b
    assert multistep_weights(sigmas, 2, 2) == pytest.approx([-1.25, 0.25])
    # whatever the points, a cubic is integrated exactly
    weights = multistep_weights(np.array([9.0, 7.0, 4.0, 2.0, 1.0]), 3, 4)
    slopes = [x**3 for x in (2.0, 4.0, 7.0, 9.0)]
    assert sum(w * s for w, s in zip(weights, slopes, strict=True)) == pytest.approx((1 - 16) / 4)


def test_an_unknown_sampler_is_refused(base: BaseModel) -> None:
    with pytest.raises(ValueError, match="no sampler 'x'"):
        run_scheduler("x", base, 2, [0], (4, 8, 8), lambda noisy, t: noisy)
