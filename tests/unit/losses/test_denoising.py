from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.losses.denoising import (
    debiased_weight,
    denoising_loss,
    in_working_precision,
    masked,
    min_snr_weight,
    noise_like_weight,
    signal_to_noise,
    squared_error,
    v_like_weight,
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


def test_squared_error_keeps_every_element() -> None:
    pred, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 4.0], [3.0, 1.0]])
    assert torch.equal(squared_error(pred, target), torch.tensor([[1.0, 4.0], [0.0, 9.0]]))
    assert torch.equal(squared_error(pred, target).mean(1), denoising_loss(pred, target))


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


SNR_0_1_4_INFINITE = torch.tensor([0.0, 0.5, 0.8, 1.0])


def test_a_v_prediction_is_weighed_like_a_noise_prediction_at_hand_computed_points() -> None:
    weights = noise_like_weight(SNR_0_1_4_INFINITE)
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.5, 0.8, 1000 / 1001]))


def test_weighing_like_a_noise_prediction_undoes_what_predicting_v_adds() -> None:
    """d v = d eps / sqrt(alpha_bar) at a given noisy latent, so alpha_bar times the square of one is the other's."""
    alpha_bar = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    noisy, eps, eps_error = (torch.randn(99, 1, generator=rng(i), dtype=torch.float64) for i in range(3))
    signal, sigma = alpha_bar.sqrt()[:, None], (1 - alpha_bar).sqrt()[:, None]

    def velocity(noise: torch.Tensor) -> torch.Tensor:
        return signal * noise - sigma * (noisy - sigma * noise) / signal

    of_v = denoising_loss(velocity(eps + eps_error), velocity(eps))
    torch.testing.assert_close(of_v * noise_like_weight(alpha_bar), denoising_loss(eps + eps_error, eps))


def test_a_v_like_part_is_added_at_hand_computed_points() -> None:
    weights = v_like_weight(SNR_0_1_4_INFINITE, 0.5)
    torch.testing.assert_close(weights, torch.tensor([math.inf, 2.0, 1.625, 1.5005]))
    torch.testing.assert_close(v_like_weight(SNR_0_1_4_INFINITE[1:], 1.0), torch.tensor([3.0, 2.25, 2.001]))


@pytest.mark.parametrize(
    ("prediction_type", "weights"),
    [("epsilon", [math.inf, 1.0, 0.5, 1000**-0.5]), ("v_prediction", [1.0, 0.5, 0.2, 1 / 1001])],
)
def test_debiased_weight_at_hand_computed_points(prediction_type: str, weights: list[float]) -> None:
    torch.testing.assert_close(debiased_weight(SNR_0_1_4_INFINITE, prediction_type), torch.tensor(weights))


@pytest.mark.parametrize(
    "weight",
    [noise_like_weight, lambda a: v_like_weight(a, 0.3), lambda a: debiased_weight(a, "epsilon")],
    ids=["noise like", "v like", "debiased"],
)
def test_weights_are_computed_in_float32_or_wider(weight) -> None:
    alpha_bar = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert weight(alpha_bar).dtype == torch.float64
    assert weight(alpha_bar.half()).dtype == torch.float32
    torch.testing.assert_close(weight(alpha_bar.float()), weight(alpha_bar).float())


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: noise_like_weight(torch.tensor(0.5)), "alpha_bar_t"),
        (lambda: noise_like_weight(torch.tensor([1.5])), "alpha_bar"),
        (lambda: v_like_weight(torch.tensor([0.5]), 0.0), "share"),
        (lambda: debiased_weight(torch.tensor([0.5]), "sample"), "prediction_type: found 'sample'"),
        (lambda: debiased_weight(torch.tensor([[0.5]]), "epsilon"), "alpha_bar_t"),
    ],
)
def test_weights_refuse_and_name(call, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        call()


def test_a_mask_weighs_each_place() -> None:
    loss = torch.arange(16.0).view(2, 2, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 1.0]]], [[[0.0, 0.0], [0.0, 0.25]]]])
    expected = [[[0, 0], [1, 3]], [[4, 0], [3, 7]]], [[[0, 0], [0, 2.75]], [[0, 0], [0, 3.75]]]
    assert masked(loss, mask).tolist() == list(expected)
    assert masked(loss, None) is loss
    assert torch.equal(masked(loss, torch.ones(2, 1, 2, 2)), loss)
    assert masked(loss.double(), mask).dtype == torch.float64
    assert masked(loss, mask.double()).dtype == torch.float32


def test_masked_places_get_no_gradient() -> None:
    pred = torch.ones(1, 3, 2, 2, requires_grad=True)
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    masked(squared_error(pred, torch.zeros(1, 3, 2, 2)), mask).mean().backward()
    assert pred.grad is not None
    torch.testing.assert_close(pred.grad, (2 * mask / 12).expand(1, 3, 2, 2))


@pytest.mark.parametrize("shape", [(2, 1, 2, 3), (1, 1, 2, 2), (2, 2, 2, 2), (2, 2, 2)])
def test_a_mask_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        masked(torch.ones(2, 2, 2, 2), torch.ones(shape))
    with pytest.raises(ValueError, match="does not fit"):
        masked(torch.ones(2, 2), torch.ones(2, 1))
