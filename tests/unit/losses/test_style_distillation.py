from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.losses.denoising import denoising_loss
from museum_plugin.losses.style_distillation import style_distillation_loss, style_distillation_weight

LN3 = math.log(3.0)
KL = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # of (3/4, 1/4) from (1/2, 1/2)


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_value_by_hand() -> None:
    pred_x0 = torch.tensor([[[[LN3, 0.0]]], [[[0.0, 0.0]]]])  # softmax: (3/4, 1/4) and (1/2, 1/2)
    loss = style_distillation_loss(pred_x0, torch.zeros(1, 1, 2))
    torch.testing.assert_close(loss, torch.tensor([KL, 0.0]))


def test_the_divergence_is_taken_from_the_mean_and_not_from_the_prediction() -> None:
    loss = style_distillation_loss(torch.zeros(1, 1, 1, 2), torch.tensor([[[LN3, 0.0]]]))
    reverse = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert loss.item() == pytest.approx(reverse)
    assert abs(reverse - KL) > 0.01


def test_temperature_divides_both_sides() -> None:
    pred_x0, mean = latents(2, 4, 3, 3), latents(4, 3, 3, seed=1)
    halved = style_distillation_loss(pred_x0 / 2, mean / 2)
    torch.testing.assert_close(style_distillation_loss(pred_x0, mean, temperature=2.0), halved)
    assert not torch.allclose(style_distillation_loss(pred_x0, mean), halved)


def test_agrees_with_float64_over_all_positions_and_channels() -> None:
    pred_x0, mean = latents(3, 4, 5, 6), latents(4, 5, 6, seed=1)
    p = torch.softmax(pred_x0.double().reshape(3, -1), 1)
    q = torch.softmax(mean.double().reshape(-1), 0)
    exact = (p * (p / q).log()).sum(1)
    assert style_distillation_loss(pred_x0.double(), mean.double()).dtype == torch.float64
    torch.testing.assert_close(style_distillation_loss(pred_x0.double(), mean.double()), exact)
    torch.testing.assert_close(style_distillation_loss(pred_x0, mean), exact.float())


def test_is_deterministic_and_judges_each_sample_alone() -> None:
    pred_x0, mean = latents(3, 4, 5, 6), latents(4, 5, 6, seed=1)
    loss = style_distillation_loss(pred_x0, mean)
    assert torch.equal(loss, style_distillation_loss(pred_x0, mean))
    torch.testing.assert_close(loss[1:2], style_distillation_loss(pred_x0[1:2], mean))


def test_is_zero_at_the_mean_whatever_constant_is_added_and_positive_elsewhere() -> None:
    mean = latents(4, 5, 6)
    at_mean = style_distillation_loss(torch.stack([mean, mean + 3.0]), mean)
    torch.testing.assert_close(at_mean, torch.zeros(2), rtol=0, atol=1e-6)
    assert (style_distillation_loss(latents(8, 4, 5, 6, seed=1), mean) > 0.1).all()


def test_gradient_reaches_the_prediction_and_never_the_mean() -> None:
    pred_x0, mean = latents(2, 4, 3, 3).requires_grad_(), latents(4, 3, 3, seed=1).requires_grad_()
    style_distillation_loss(pred_x0, mean).sum().backward()
    assert (pred_x0.grad.flatten(1).norm(dim=1) > 0.01).all()
    assert mean.grad is None


def test_gradient_is_that_of_finite_differences() -> None:
    pred_x0, mean = latents(2, 1, 2, 3).double().requires_grad_(), latents(1, 2, 3, seed=1).double()
    assert torch.autograd.gradcheck(lambda x: style_distillation_loss(x, mean, temperature=1.5), (pred_x0,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype) -> None:
    pred_x0, mean = (60_000 * latents(2, 4, 8, 8).sign()).to(dtype), latents(4, 8, 8, seed=1).to(dtype)
    loss = style_distillation_loss(pred_x0, mean, temperature=0.5)
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()
    assert torch.equal(loss, style_distillation_loss(pred_x0.float(), mean.float(), temperature=0.5))


def test_learns_to_draw_the_mean() -> None:
    pred_x0, mean = latents(2, 1, 2, 2).requires_grad_(), latents(1, 2, 2, seed=1)
    optimizer = torch.optim.SGD([pred_x0], lr=1.0)
    first = style_distillation_loss(pred_x0, mean).detach()
    for _ in range(60):
        optimizer.zero_grad()
        style_distillation_loss(pred_x0, mean).sum().backward()
        optimizer.step()
    assert (style_distillation_loss(pred_x0, mean) < 0.1 * first).all()


@pytest.mark.parametrize(
    ("pred_x0", "mean"), [((2, 4, 3, 3), (4, 3, 2)), ((4, 3, 3), (3, 3)), ((0, 4, 3, 3), (4, 3, 3))]
)
def test_shapes_that_do_not_agree_are_refused(pred_x0, mean) -> None:
    with pytest.raises(ValueError, match="pred_x0 must"):
        style_distillation_loss(torch.zeros(pred_x0), torch.zeros(mean))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_and_finite_is_refused(temperature) -> None:
    with pytest.raises(ValueError, match="temperature"):
        style_distillation_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2), temperature=temperature)


def test_weight_is_alpha_bar_in_working_precision_and_without_gradient() -> None:
    alpha_bar = torch.tensor([0.0, 0.25, 1.0], requires_grad=True)
    weight = style_distillation_weight(alpha_bar)
    assert weight.tolist() == [0.0, 0.25, 1.0]
    assert not weight.requires_grad
    assert style_distillation_weight(alpha_bar.half()).dtype == torch.float32
    assert style_distillation_weight(alpha_bar.double()).dtype == torch.float64


@pytest.mark.parametrize("alpha_bar", [torch.tensor(0.5), torch.tensor([1.1]), torch.tensor([-0.1, 0.5])])
def test_weight_refuses_what_is_no_share_per_sample(alpha_bar) -> None:
    with pytest.raises(ValueError, match="alpha_bar_t"):
        style_distillation_weight(alpha_bar)


def shrinkage_at_high_noise(weight: torch.Tensor, alpha_bar: torch.Tensor) -> float:
    """How far the best prediction moves from the true picture to the mean: 0 not at all, 1 all the way."""
    true_x0, mean = 0.1 * latents(1, 1, 4, 4).double(), torch.zeros(1, 4, 4).double()
    true_x0 -= true_x0.mean()
    pred_x0 = true_x0.clone().requires_grad_()
    snr = alpha_bar / (1 - alpha_bar)
    optimizer = torch.optim.LBFGS([pred_x0], line_search_fn="strong_wolfe", max_iter=100, tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = snr * denoising_loss(pred_x0, true_x0) + weight * style_distillation_loss(pred_x0, mean, temperature=2.0)
        (100 * loss / snr).sum().backward()
        return (100 * loss / snr).sum()

    optimizer.step(closure)
    return 1 - (pred_x0.detach().norm() / true_x0.norm()).item()


def test_the_weight_keeps_high_noise_from_collapsing_to_the_mean_picture() -> None:
    alpha_bar = torch.tensor([0.005], dtype=torch.float64)
    assert shrinkage_at_high_noise(torch.tensor([0.1]), alpha_bar) > 0.5
    assert shrinkage_at_high_noise(0.1 * style_distillation_weight(alpha_bar), alpha_bar) == pytest.approx(
        0.1 / (2 * 2.0**2 + 0.1), rel=0.05
    )
