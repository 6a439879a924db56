from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.losses.denoising import (
    denoising_loss,
    in_working_precision,
    masked,
    min_snr_weight,
    offset_noise,
    signal_to_noise,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        ([torch.float16], torch.float32),
        ([torch.bfloat16], torch.float32),
        ([torch.float16, torch.bfloat16], torch.float32),
        ([torch.float32], torch.float32),
        ([torch.float16, torch.float64], torch.float64),
    ],
)
def test_the_widest_dtype_and_at_least_float32_is_computed_in(given, computed) -> None:
    tensors = in_working_precision(*(torch.ones(2, dtype=dtype) for dtype in given))
    assert [tensor.dtype for tensor in tensors] == [computed] * len(given)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_what_is_not_real_floating_point_is_refused(dtype) -> None:
    with pytest.raises(ValueError, match="floating point"):
        in_working_precision(torch.ones(2), torch.ones(2, dtype=dtype))


def test_denoising_loss_is_the_mean_square_of_each_sample() -> None:
    pred = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    target = torch.tensor([[[[0.0, 4.0]]], [[[3.0, 4.0]]]])
    torch.testing.assert_close(denoising_loss(pred, target), torch.tensor([2.5, 0.0]))  # (1 + 4) / 2


def test_denoising_loss_agrees_with_float64_and_is_deterministic() -> None:
    pred, target = torch.randn(2, 3, 4, 5, 6, generator=rng())
    exact = torch.stack([(p - t).pow(2).mean() for p, t in zip(pred.double(), target.double(), strict=True)])
    assert denoising_loss(pred.double(), target.double()).dtype == torch.float64
    torch.testing.assert_close(denoising_loss(pred.double(), target.double()), exact)
    torch.testing.assert_close(denoising_loss(pred, target), exact.float())
    assert torch.equal(denoising_loss(pred, target), denoising_loss(pred, target))


def test_denoising_loss_of_float16_is_computed_in_float32() -> None:
    loss = denoising_loss(torch.full((1, 4), 300.0).half(), torch.zeros(1, 4).half())
    assert loss.dtype == torch.float32
    assert loss.item() == 90_000  # float16 ends at 65504


def test_denoising_gradient_reaches_the_prediction_and_never_the_target() -> None:
    pred, target = (torch.randn(2, 3, generator=rng(seed)).requires_grad_() for seed in (0, 1))
    denoising_loss(pred, target).sum().backward()
    torch.testing.assert_close(pred.grad, 2 * (pred - target).detach() / 3)
    assert target.grad is None


def test_denoising_loss_learns() -> None:
    target = torch.randn(2, 8, generator=rng())
    pred = torch.zeros(2, 8, requires_grad=True)
    optimizer = torch.optim.SGD([pred], lr=1.0)
    first = denoising_loss(pred, target).detach()
    for _ in range(5):
        optimizer.zero_grad()
        denoising_loss(pred, target).sum().backward()
        optimizer.step()
    assert (denoising_loss(pred, target) < 0.1 * first).all()


@pytest.mark.parametrize(("pred", "target"), [((2, 3), (3, 2)), ((2, 3), (1, 3)), ((2,), (2,)), ((0, 3), (0, 3))])
def test_denoising_loss_refuses_shapes_it_would_have_to_guess(pred, target) -> None:
    with pytest.raises(ValueError, match="must"):
        denoising_loss(torch.zeros(pred), torch.zeros(target))


def test_signal_to_noise_is_the_ratio_of_variances() -> None:
    snr = signal_to_noise(torch.tensor([0.0, 0.5, 0.8, 1.0]))
    torch.testing.assert_close(snr, torch.tensor([0.0, 1.0, 4.0, math.inf]))
    assert signal_to_noise(torch.full((2, 3), 0.5).double()).dtype == torch.float64
    assert signal_to_noise(torch.full((2, 3), 0.5).half()).dtype == torch.float32


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_signal_to_noise_refuses_what_is_no_share(value) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        signal_to_noise(torch.tensor([0.5, value]))


@pytest.mark.parametrize(
    ("prediction_type", "gamma", "weights"),
    [
        ("epsilon", 2.0, [1.0, 1.0, 0.5, 0.0]),  # SNR 0, 1, 4, infinite
        ("epsilon", 1.0, [1.0, 1.0, 0.25, 0.0]),
        ("v_prediction", 2.0, [0.0, 0.5, 0.4, 0.0]),
        ("v_prediction", 1.0, [0.0, 0.5, 0.2, 0.0]),
    ],
)
def test_min_snr_weight_at_hand_computed_points(prediction_type, gamma, weights) -> None:
    alpha_bar = torch.tensor([0.0, 0.5, 0.8, 1.0])
    torch.testing.assert_close(min_snr_weight(alpha_bar, gamma, prediction_type), torch.tensor(weights))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_weight_in_units_of_x0_never_exceeds_gamma(prediction_type) -> None:
    alpha_bar = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    snr = alpha_bar / (1 - alpha_bar)
    to_x0 = snr if prediction_type == "epsilon" else snr + 1  # error of pred^2 = to_x0 * error of x0^2
    weight = min_snr_weight(alpha_bar, 5.0, prediction_type)
    torch.testing.assert_close(weight * to_x0, snr.clamp(max=5.0))


@pytest.mark.parametrize(
    ("alpha_bar", "gamma", "prediction_type", "names"),
    [
        (torch.tensor(0.5), 5.0, "epsilon", "alpha_bar_t"),
        (torch.full((2, 1), 0.5), 5.0, "epsilon", "alpha_bar_t"),
        (torch.tensor([1.5]), 5.0, "epsilon", "alpha_bar"),
        (torch.tensor([0.5]), 0.0, "epsilon", "gamma"),
        (torch.tensor([0.5]), math.nan, "epsilon", "gamma"),
        (torch.tensor([0.5]), 5.0, "sample", "prediction_type: found 'sample', allowed: epsilon, v_prediction"),
    ],
)
def test_min_snr_weight_refuses_and_names(alpha_bar, gamma, prediction_type, names) -> None:
    with pytest.raises(ValueError, match=names):
        min_snr_weight(alpha_bar, gamma, prediction_type)


def test_offset_noise_adds_one_shift_to_each_channel() -> None:
    noise = torch.randn(2, 3, 4, 5, generator=rng())
    expected = noise + 0.1 * torch.randn(2, 3, 1, 1, generator=rng(7))
    torch.testing.assert_close(offset_noise(noise, 0.1, rng(7)), expected)
    assert not torch.allclose(offset_noise(noise, 0.1, rng(8)), expected)
    assert torch.equal(offset_noise(noise, 0.0, rng(7)), noise)


def test_offset_noise_shifts_by_its_standard_deviation() -> None:
    shifts = offset_noise(torch.zeros(64, 64, 1, 1), 0.3, rng())
    assert shifts.std().item() == pytest.approx(0.3, rel=0.05)
    assert shifts.mean().item() == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_offset_noise_keeps_the_dtype_and_draws_alike_in_each(dtype) -> None:
    noise = torch.randn(2, 3, 4, 5, generator=rng()).to(dtype)
    shifted = offset_noise(noise, 0.1, rng(7))
    assert shifted.dtype == dtype
    wide = torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(shifted, offset_noise(noise.to(wide), 0.1, rng(7)).to(dtype), rtol=0, atol=0)
    torch.testing.assert_close(shifted.float(), offset_noise(noise.float(), 0.1, rng(7)), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("shape", "offset"), [((2, 3), 0.1), ((2, 3, 4, 5), math.inf), ((2, 3, 4, 5), math.nan)])
def test_offset_noise_refuses_bad_arguments(shape, offset) -> None:
    with pytest.raises(ValueError, match=r"noise must be|offset must be"):
        offset_noise(torch.zeros(shape), offset, rng())


def test_a_mask_weighs_each_place_before_the_mean() -> None:
    pred = torch.arange(16.0).view(2, 2, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 1.0]]], [[[0.0, 0.0], [0.0, 0.25]]]])
    # squares 0 1 4 9 16 25 36 49: (0 + 4/2 + 9 + 16 + 36/2 + 49) / 8; and (121 + 225) / 4 / 8
    loss = denoising_loss(pred, torch.zeros_like(pred), mask)
    torch.testing.assert_close(loss, torch.tensor([94 / 8, 86.5 / 8]))
    assert torch.equal(denoising_loss(pred, torch.zeros_like(pred), None), pred.square().flatten(1).mean(1))
    ones = torch.ones(2, 1, 2, 2)
    assert torch.equal(denoising_loss(pred, torch.zeros_like(pred), ones), denoising_loss(pred, torch.zeros_like(pred)))


def test_masked_places_get_no_gradient() -> None:
    pred = torch.ones(1, 3, 2, 2, requires_grad=True)
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    denoising_loss(pred, torch.zeros(1, 3, 2, 2), mask).sum().backward()
    assert pred.grad is not None
    torch.testing.assert_close(pred.grad, (2 * mask / 12).expand(1, 3, 2, 2))


@pytest.mark.parametrize("shape", [(2, 1, 2, 3), (1, 1, 2, 2), (2, 2, 2, 2), (2, 2, 2)])
def test_a_mask_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        masked(torch.ones(2, 2, 2, 2), torch.ones(shape))
    with pytest.raises(ValueError, match="does not fit"):
        masked(torch.ones(2, 2), torch.ones(2, 1))
