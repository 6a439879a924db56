"""The denoising loss that a run asks for, against numbers written out in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from museum_plugin.config.schema import LossConfig
from museum_plugin.methods.method import Step
from museum_plugin.train.objective import elementwise_loss, huber_threshold, weighted

ALPHA_BAR = torch.tensor([0.9, 0.5, 0.05])
T = torch.tensor([100, 400, 800])
PRED, TARGET = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))


def step(prediction_type: str = "epsilon") -> Step:
    return Step(t=T, alpha_bar=ALPHA_BAR, prediction_type=prediction_type, pred_x0=torch.zeros_like(PRED))


def by_hand(loss_type: str, thresholds: list[float]) -> torch.Tensor:
    difference = PRED.double() - TARGET.double()
    if loss_type == "l2":
        return difference**2
    if loss_type == "l1":
        return difference.abs()
    c = torch.tensor(thresholds, dtype=torch.float64).view(3, 1, 1, 1)
    factor = 2 * c if loss_type == "huber" else 2
    return factor * (torch.sqrt(difference**2 + c**2) - c)


def thresholds_by_hand(schedule: str, huber_c: float, scale: float) -> list[float]:
    if schedule == "constant":
        return [huber_c * scale] * 3
    if schedule == "exponential":
        return [math.exp(math.log(huber_c) / 1000 * t) * scale for t in (100, 400, 800)]
    sigmas = [math.sqrt((1 - a) / a) for a in (0.9, 0.5, 0.05)]
    return [(1 - huber_c) / (1 + sigma) ** 2 + huber_c for sigma in sigmas]


@pytest.mark.parametrize("loss_type", ["l2", "l1", "huber", "smooth_l1"])
@pytest.mark.parametrize("schedule", ["snr", "exponential", "constant"])
@pytest.mark.parametrize(("huber_c", "scale"), [(0.1, 1.0), (0.3, 2.0)])
def test_every_loss_type_and_schedule_agrees_with_float64(
    loss_type: str, schedule: str, huber_c: float, scale: float
) -> None:
    loss = LossConfig(loss_type=loss_type, huber_schedule=schedule, huber_c=huber_c, huber_scale=scale)
    thresholds = thresholds_by_hand(schedule, huber_c, scale)
    torch.testing.assert_close(huber_threshold(step(), loss, 1000).tolist(), thresholds, rtol=1e-5, atol=0)
    found = elementwise_loss(PRED, TARGET, step(), loss, 1000)
    assert found.shape == PRED.shape
    torch.testing.assert_close(found.double(), by_hand(loss_type, thresholds), rtol=1e-5, atol=1e-6)


def test_the_exponential_schedule_follows_the_number_of_timesteps() -> None:
    loss = LossConfig(loss_type="huber", huber_schedule="exponential")
    assert huber_threshold(step(), loss, 800)[2].item() == pytest.approx(0.1)


SNR = [0.9 / 0.1, 1.0, 0.05 / 0.95]


@pytest.mark.parametrize(
    ("options", "prediction_type", "factors"),
    [
        ({}, "epsilon", [1.0, 1.0, 1.0]),
        ({"min_snr_gamma": 5.0}, "epsilon", [min(s, 5) / s for s in SNR]),
        ({"min_snr_gamma": 5.0}, "v_prediction", [min(s, 5) / (s + 1) for s in SNR]),
        ({"scale_v_pred_loss_like_noise_pred": True}, "v_prediction", [s / (s + 1) for s in SNR]),
        ({"v_pred_like_loss": 0.7}, "epsilon", [1 + 0.7 * (s + 1) / s for s in SNR]),
        ({"debiased_estimation_loss": True}, "epsilon", [s**-0.5 for s in SNR]),
        ({"debiased_estimation_loss": True}, "v_prediction", [1 / (s + 1) for s in SNR]),
        (
            {"min_snr_gamma": 5.0, "v_pred_like_loss": 0.7, "debiased_estimation_loss": True},
            "epsilon",
            [min(s, 5) / s * (1 + 0.7 * (s + 1) / s) * s**-0.5 for s in SNR],
        ),
        (
            {"min_snr_gamma": 5.0, "scale_v_pred_loss_like_noise_pred": True, "debiased_estimation_loss": True},
            "v_prediction",
            [min(s, 5) / (s + 1) * s / (s + 1) / (s + 1) for s in SNR],
        ),
    ],
)
def test_weights_multiply(options: dict[str, Any], prediction_type: str, factors: list[float]) -> None:
    losses = torch.tensor([2.0, 3.0, 5.0])
    found = weighted(losses, ALPHA_BAR, prediction_type, LossConfig(**options))
    torch.testing.assert_close(found, losses * torch.tensor(factors))


def test_without_noise_left_to_weigh_nothing_becomes_infinite_for_v() -> None:
    """The last t of a rescaled schedule has no signal; a step there must not end a run."""
    loss = LossConfig(
        zero_terminal_snr=True,
        min_snr_gamma=5.0,
        scale_v_pred_loss_like_noise_pred=True,
        debiased_estimation_loss=True,
        loss_type="huber",
    )
    nothing = torch.zeros(3)
    assert weighted(torch.ones(3), nothing, "v_prediction", loss).isfinite().all()
    at_the_end = Step(t=T, alpha_bar=nothing, prediction_type="v_prediction", pred_x0=torch.zeros_like(PRED))
    assert elementwise_loss(PRED, TARGET, at_the_end, loss, 1000).isfinite().all()
