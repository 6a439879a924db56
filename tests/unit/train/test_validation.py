"""The loss of pictures that are never trained on: when, and what."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import TrainingConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.batch_order import BatchOrder
from museum_plugin.train.calendar import calendar_for
from museum_plugin.train.step import StyleBatch, rng_for
from museum_plugin.train.validation import validation_is_due, validation_loss
from tests.tiny_museums import tiny_museum


@pytest.mark.parametrize(
    ("flags", "batches_a_step", "steps"),
    [
        # epochs of 3 batches, and after the last step
        ({}, 1, [3, 6, 9, 10]),
        # two batches a step: an epoch is 2 steps, the second of which has one batch
        ({}, 2, [2, 4, 6, 8, 10]),
        ({"validate_every_n_epochs": 2}, 1, [6, 10]),
        ({"validate_every_n_steps": 4}, 1, [4, 8, 10]),
        ({"validate_every_n_steps": 4, "validate_every_n_epochs": 1}, 1, [3, 4, 6, 8, 9, 10]),
        ({"validate_every_n_steps": 50}, 1, [10]),
        ({"validate_every_n_epochs": 50}, 1, [10]),
    ],
)
def test_it_is_due_where_the_flags_say(flags: dict[str, int], batches_a_step: int, steps: list[int]) -> None:
    training = TrainingConfig(steps=10, gradient_accumulation_steps=batches_a_step, **flags)
    calendar = calendar_for(training, BatchOrder(3, training.gradient_accumulation_steps))
    assert [done for done in range(1, 11) if validation_is_due(training, calendar, done)] == steps


def test_the_last_step_is_that_of_the_last_epoch() -> None:
    training = TrainingConfig(steps=10, epochs=4, validate_every_n_steps=10)
    calendar = calendar_for(training, BatchOrder(3, training.gradient_accumulation_steps))
    assert [done for done in range(1, 13) if validation_is_due(training, calendar, done)] == [10, 12]


@pytest.mark.parametrize("name", ["validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps"])
def test_impossible_counts_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: found 0"):
        TrainingConfig(**{name: 0})


def batches(seed: int = 0) -> list[StyleBatch]:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :2] = 1
    return [
        StyleBatch(torch.randn(2, 4, 8, 8, generator=rng), ("a cat", "a dog"), torch.ones(2)),
        StyleBatch(torch.randn(1, 4, 8, 8, generator=rng), ("a fish",), torch.ones(1), mask),
    ]


def test_it_is_the_mean_over_samples_and_four_timesteps(base: BaseModel) -> None:
    museum, denoiser = tiny_museum(base, "ink"), Denoiser(base)
    found = []
    with museum.attached(), torch.no_grad():
        loss = validation_loss(museum, denoiser, batches(), TextEncoding())
        for number, batch in enumerate(batches()):
            for time in (200, 400, 600, 800):
                noise = torch.randn(batch.latents.shape, generator=rng_for(0, "validation", number, time).tensor)
                t = torch.full((len(noise),), time)
                pred = denoiser.predict(
                    denoiser.add_noise(batch.latents, noise, t), t, encode_prompts(base, batch.prompts)
                )
                error = (pred - denoiser.target(batch.latents, noise, t)).square()
                found += (error if batch.masks is None else error * batch.masks).flatten(1).mean(1).tolist()
    assert len(found) == 12
    assert loss == pytest.approx(sum(found) / 12, rel=1e-5)


def test_it_is_the_same_whenever_it_is_computed_and_draws_nothing(base: BaseModel) -> None:
    museum, denoiser = tiny_museum(base, "ink"), Denoiser(base)
    with museum.attached():
        torch.manual_seed(1)
        first = validation_loss(museum, denoiser, batches(), TextEncoding())
        state = torch.random.get_rng_state()
        again = validation_loss(museum, denoiser, batches(), TextEncoding())
        assert torch.equal(torch.random.get_rng_state(), state)
        other = validation_loss(museum, denoiser, batches(1), TextEncoding())
        skipped = validation_loss(museum, denoiser, batches(), TextEncoding(clip_skip=2))
    assert first == again
    assert other != first != skipped
    assert all(parameter.grad is None for parameter in museum.network.parameters())


def test_masked_places_do_not_count(base: BaseModel) -> None:
    museum, denoiser = tiny_museum(base, "ink"), Denoiser(base)
    (batch, _) = batches()
    half = dataclasses.replace(batch, masks=torch.full((2, 1, 8, 8), 0.5))
    with museum.attached():
        whole, part = (validation_loss(museum, denoiser, [each], TextEncoding()) for each in (batch, half))
    assert part == pytest.approx(whole / 2)
