"""Losses that outliers pull less than the square, and where they turn linear."""

from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.losses.denoising import squared_error
from museum_plugin.losses.robust import (
    absolute_error,
    constant_threshold,
    exponential_threshold,
    pseudo_huber,
    smooth_l1,
    snr_threshold,
)


def pair(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    pred, target = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return pred, target


C = torch.tensor([0.1, 0.5, 2.0])


def test_absolute_error_of_each_element() -> None:
    found = absolute_error(torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, -2.5]]))
    assert torch.equal(found, torch.tensor([[2.0, 0.5]]))


def test_pseudo_huber_and_smooth_l1_at_hand_computed_points() -> None:
    pred, target = torch.tensor([[3.0, 0.0], [1.0, 0.75]]), torch.zeros(2, 2)
    c = torch.tensor([4.0, 1.0])  # sqrt(9 + 16) - 4 = 1; sqrt(1 + 1) - 1; sqrt(9/16 + 1) - 1 = 1/4
    torch.testing.assert_close(smooth_l1(pred, target, c), torch.tensor([[2.0, 0.0], [2 * math.sqrt(2) - 2, 0.5]]))
    torch.testing.assert_close(pseudo_huber(pred, target, c), torch.tensor([[8.0, 0.0], [2 * math.sqrt(2) - 2, 0.5]]))


@pytest.mark.parametrize("loss", [pseudo_huber, smooth_l1])
def test_both_agree_with_float64(loss) -> None:
    pred, target = pair()
    c, d = C.double().view(3, 1, 1, 1), pred.double() - target.double()
    exact = 2 * (c if loss is pseudo_huber else 1) * ((d.square() + c.square()).sqrt() - c)
    assert loss(pred.double(), target.double(), C.double()).dtype == torch.float64
    torch.testing.assert_close(loss(pred.double(), target.double(), C.double()), exact)
    torch.testing.assert_close(loss(pred, target, C), exact.float(), rtol=1e-5, atol=1e-7)
    assert loss(pred.half(), target.half(), C).dtype == torch.float32


def test_pseudo_huber_is_the_square_for_small_errors_and_a_line_for_large_ones() -> None:
    pred, target = pair()
    torch.testing.assert_close(pseudo_huber(pred, target, torch.full((3,), 1e4)), squared_error(pred, target))
    large = pseudo_huber(1000 * pred, 1000 * target, torch.full((3,), 0.01))
    torch.testing.assert_close(large, 0.02 * absolute_error(1000 * pred, 1000 * target), rtol=1e-3, atol=1e-3)
    flat = smooth_l1(pred, target, torch.full((3,), 1e-6))
    torch.testing.assert_close(flat, 2 * absolute_error(pred, target), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [absolute_error, lambda p, t: pseudo_huber(p, t, C), lambda p, t: smooth_l1(p, t, C)])
def test_the_gradient_reaches_the_prediction_only_and_learning_ends_at_the_target(loss) -> None:
    target = torch.ones(3, 4, requires_grad=True)
    pred = torch.zeros(3, 4, requires_grad=True)
    optimizer = torch.optim.Adam([pred], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(pred, target).mean().backward()
        optimizer.step()
    assert target.grad is None
    assert (pred - 1).abs().max() < 0.2
    pred = torch.ones(3, 4, requires_grad=True)
    loss(pred, torch.ones(3, 4)).sum().backward()
    assert pred.grad is not None
    assert torch.equal(pred.grad, torch.zeros(3, 4)), "no kink of infinite slope at zero error"


@pytest.mark.parametrize("loss", [pseudo_huber, smooth_l1])
@pytest.mark.parametrize("threshold", [torch.ones(2), torch.ones(3, 1), torch.tensor([1.0, 0.0, 1.0])])
def test_a_threshold_for_each_sample_is_needed(loss, threshold: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="threshold must be"):
        loss(*pair(), threshold)


@pytest.mark.parametrize("loss", [absolute_error, lambda p, t: smooth_l1(p, t, C)])
def test_shapes_that_do_not_agree_are_refused(loss) -> None:
    with pytest.raises(ValueError, match="one shape"):
        loss(torch.zeros(3, 2), torch.zeros(3, 1))


def test_thresholds_at_hand_computed_points() -> None:
    t = torch.tensor([0, 500, 1000])
    torch.testing.assert_close(constant_threshold(t, 0.1, 3.0), torch.full((3,), 0.3))
    torch.testing.assert_close(exponential_threshold(t, 1000, 0.01, 2.0), torch.tensor([2.0, 0.2, 0.02]))
    torch.testing.assert_close(exponential_threshold(t, 500, 0.1, 1.0), torch.tensor([1.0, 0.1, 0.01]))
    alpha_bar = torch.tensor([1.0, 0.5, 0.2, 0.0])  # sigma 0, 1, 2, infinite
    torch.testing.assert_close(snr_threshold(alpha_bar, 0.1), torch.tensor([1.0, 0.9 / 4 + 0.1, 0.2, 0.1]))
    torch.testing.assert_close(snr_threshold(alpha_bar, 0.4)[1:3], torch.tensor([0.55, 0.6 / 9 + 0.4]))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_thresholds_must_be_positive(bad: float) -> None:
    t = torch.tensor([0, 1])
    for call in (
        lambda: constant_threshold(t, bad, 1.0),
        lambda: constant_threshold(t, 1.0, bad),
        lambda: exponential_threshold(t, 1000, bad, 1.0),
        lambda: exponential_threshold(t, 1000, 1.0, bad),
        lambda: snr_threshold(torch.tensor([0.5]), bad),
    ):
        with pytest.raises(ValueError, match="greater than 0"):
            call()
