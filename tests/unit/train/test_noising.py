"""Which noise a step adds, at which t: every option counts, and without any the draws are the plain ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from museum_plugin.config.schema import LossConfig
from museum_plugin.losses.noise import adaptive_offset, multires_noise, offset_noise, perturbed_noise
from museum_plugin.train.noising import draw_noise, draw_timesteps, input_noise


def rng(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LATENTS = 2 * torch.randn(2, 4, 8, 8, generator=rng(0)) + 1


def noise(**options: Any) -> Tensor:
    return draw_noise(LATENTS, LossConfig(**options), rng())


def test_without_options_the_draws_are_the_plain_ones_in_their_order() -> None:
    generator, plain = rng(), rng()
    drawn = draw_noise(LATENTS, LossConfig(), generator)
    t = draw_timesteps(2, 1000, LossConfig(), generator)
    assert torch.equal(drawn, torch.randn(2, 4, 8, 8, generator=plain))
    assert torch.equal(t, torch.randint(1000, (2,), generator=plain))
    assert input_noise(drawn, LossConfig(), generator) is drawn
    assert torch.equal(torch.rand(1, generator=generator), torch.rand(1, generator=plain)), "nothing else was drawn"


def test_an_offset_has_the_strength_that_was_asked_for() -> None:
    generator = rng()
    plain = torch.randn(2, 4, 8, 8, generator=generator)
    assert torch.equal(noise(noise_offset=0.5), offset_noise(plain, 0.5, generator))


def test_a_random_strength_is_drawn_before_the_shift() -> None:
    generator = rng()
    plain = torch.randn(2, 4, 8, 8, generator=generator)
    strength = 0.5 * torch.rand(1, generator=generator).item()
    expected = offset_noise(plain, strength, generator)
    torch.testing.assert_close(noise(noise_offset=0.5, noise_offset_random_strength=True), expected)


def test_an_adaptive_offset_reads_the_latents() -> None:
    generator = rng()
    plain = torch.randn(2, 4, 8, 8, generator=generator)
    expected = offset_noise(plain, adaptive_offset(LATENTS, 0.5, 0.3), generator)
    assert torch.equal(noise(noise_offset=0.5, adaptive_noise_scale=0.3), expected)
    assert not torch.allclose(expected, noise(noise_offset=0.5))


def test_coarse_parts_come_on_top_of_an_offset() -> None:
    generator = rng()
    plain = torch.randn(2, 4, 8, 8, generator=generator)
    expected = multires_noise(offset_noise(plain, 0.5, generator), 3, 0.6, generator)
    found = noise(noise_offset=0.5, multires_noise_iterations=3, multires_noise_discount=0.6)
    assert torch.equal(found, expected)
    assert not torch.allclose(found, noise(noise_offset=0.5, multires_noise_iterations=3))
    assert not torch.allclose(found, noise(noise_offset=0.5, multires_noise_iterations=1, multires_noise_discount=0.6))


@pytest.mark.parametrize(
    ("options", "lowest", "highest"),
    [
        ({}, 0, 19),
        ({"min_timestep": 5}, 5, 19),
        ({"max_timestep": 12}, 0, 11),
        ({"min_timestep": 5, "max_timestep": 12}, 5, 11),
        ({"min_timestep": 5, "max_timestep": 6}, 5, 5),
    ],
)
def test_timesteps_are_drawn_from_the_range_alone_and_from_all_of_it(
    options: dict[str, Any], lowest: int, highest: int
) -> None:
    drawn = draw_timesteps(4000, 20, LossConfig(**options), rng())
    assert sorted(set(drawn.tolist())) == list(range(lowest, highest + 1))


def test_only_the_input_is_perturbed() -> None:
    target = noise()
    found = input_noise(target, LossConfig(ip_noise_gamma=0.2), rng(1))
    assert torch.equal(found, perturbed_noise(target, 0.2, rng(1)))
    generator = rng(1)
    strength = 0.2 * torch.rand(1, generator=generator).item()
    drawn = input_noise(target, LossConfig(ip_noise_gamma=0.2, ip_noise_gamma_random_strength=True), rng(1))
    torch.testing.assert_close(drawn, perturbed_noise(target, strength, generator))
