from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.losses.weight_regularization import (
    LowRank,
    SecondMoment,
    feature_lock_penalty,
    inner_product,
    input_weighted_change,
    weight_cosine_penalty,
)
from tests.unit.losses.low_ranks import HALF, ONE, SHAPES, ZERO, delta, exactly, low_rank, moment, row, trainable

PENALTIES = {
    "cosine": lambda now, previous: weight_cosine_penalty([now], [previous]),
    "change": lambda now, previous: input_weighted_change(now, previous, exactly(moment(now.down.shape[1]))),
    "lock": lambda now, previous: feature_lock_penalty(
        [now], [previous], [exactly(moment(now.down.shape[1]))], [torch.tensor(2.0)]
    ),
}
every_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)


@pytest.mark.parametrize(
    ("up", "down"), [((3, 2), (3, 4)), ((3,), (3, 4)), ((3, 2), (2,)), ((3, 2, 1, 1), (2, 4)), ((3, 2), (2, 4, 1, 1))]
)
def test_factors_that_cannot_be_multiplied_are_refused(up, down) -> None:
    with pytest.raises(ValueError, match="low-rank update needs"):
        LowRank(torch.zeros(up), torch.zeros(down), 1.0)


def test_inner_product_by_hand() -> None:
    assert inner_product(row(1.0, 2.0, scale=2.0), row(3.0, -1.0, scale=5.0)).item() == 10.0  # 2 * 5 * (3 - 2)


@pytest.mark.parametrize(("out", "inner", "rank_a", "rank_b"), SHAPES)
def test_inner_product_agrees_with_the_formed_updates_and_is_symmetric(out, inner, rank_a, rank_b) -> None:
    a, b = low_rank(out, inner, rank_a), low_rank(out, inner, rank_b, seed=1, scale=3.0)
    torch.testing.assert_close(inner_product(a, b), (delta(a) * delta(b)).sum())
    torch.testing.assert_close(inner_product(a, b), inner_product(b, a))


def test_inner_product_gradients_reach_both() -> None:
    a, b = trainable(low_rank(4, 3, 2)), trainable(low_rank(4, 3, 2, seed=1))
    inner_product(a, b).backward()
    torch.testing.assert_close(a.up.grad, a.scale * (delta(b) @ a.down.T).detach())
    torch.testing.assert_close(b.down.grad, b.scale * (b.up.T @ delta(a)).detach())


def test_cosine_penalty_by_hand_is_a_mean_over_modules() -> None:
    turned = row(3.0, 4.0), row(4.0, 3.0)  # cos = 24 / 25
    opposite = row(1.0, 0.0), row(-2.0, 0.0)
    assert weight_cosine_penalty([turned[0]], [turned[1]]).item() == pytest.approx(0.04)
    assert weight_cosine_penalty([opposite[0]], [opposite[1]]).item() == pytest.approx(2.0)
    both = weight_cosine_penalty([turned[0], opposite[0]], [turned[1], opposite[1]])
    assert both.item() == pytest.approx((0.04 + 2.0) / 2)


@pytest.mark.parametrize(("out", "inner", "rank_a", "rank_b"), SHAPES)
def test_cosine_penalty_agrees_with_the_formed_updates(out, inner, rank_a, rank_b) -> None:
    a, b = low_rank(out, inner, rank_a), low_rank(out, inner, rank_b, seed=1, scale=3.0)
    cosine = torch.cosine_similarity(delta(a).flatten(), delta(b).flatten(), 0)
    torch.testing.assert_close(weight_cosine_penalty([a], [b]), 1 - cosine)


def test_cosine_penalty_sees_the_direction_and_not_the_length() -> None:
    a, b = low_rank(4, 3, 2), low_rank(4, 3, 2, seed=1)
    longer = LowRank(7 * a.up, a.down, a.scale)
    torch.testing.assert_close(weight_cosine_penalty([longer], [b]), weight_cosine_penalty([a], [b]))
    flipped = weight_cosine_penalty([LowRank(a.up, a.down, -a.scale)], [b])
    torch.testing.assert_close(flipped, 2 - weight_cosine_penalty([a], [b]))


def nothing_in_sum(dtype: torch.dtype) -> LowRank:
    """An update of zero whose factors are not: its squared norm is rounding error, often below zero."""
    half = low_rank(6, 5, 3, dtype=dtype)
    return LowRank(torch.cat([half.up, -half.up / 3], 1), torch.cat([half.down, 3 * half.down]), 0.5)


ZEROS = {
    "up": LowRank(torch.zeros(6, 2), torch.ones(2, 5), 1.0),
    "down": LowRank(torch.ones(6, 2), torch.zeros(2, 5), 1.0),
    "scale": LowRank(torch.ones(6, 2), torch.ones(2, 5), 0.0),
    "product": nothing_in_sum(torch.float32),
}


@pytest.mark.parametrize("zero", ZEROS.values(), ids=ZEROS)
@pytest.mark.parametrize("side", ["now", "previous", "both"])
def test_cosine_penalty_of_an_update_without_direction_is_zero_with_finite_gradients(zero, side) -> None:
    update = trainable(low_rank(6, 5, 2, dtype=torch.float32))
    now = trainable(zero) if side in ("now", "both") else update
    previous = zero if side in ("previous", "both") else low_rank(6, 5, 2, seed=1, dtype=torch.float32)
    penalty = weight_cosine_penalty([now], [previous])
    penalty.backward()
    assert penalty.item() == 0
    assert not now.up.grad.any()
    assert not now.down.grad.any()


def test_a_module_without_direction_counts_in_the_mean_and_spares_the_others() -> None:
    now, zero = trainable(row(1.0, 0.0)), trainable(ZERO)
    penalty = weight_cosine_penalty([now, zero], [row(1.0, 1.0), row(1.0, 1.0)])
    penalty.backward()
    assert penalty.item() == pytest.approx((1 - math.sqrt(0.5)) / 2)
    assert now.down.grad.isfinite().all()
    assert now.down.grad[0, 1] < 0


@pytest.mark.parametrize(("values", "scale"), [(1e-9, 1.0), (1.0, 1e-6)])
def test_a_very_small_update_still_has_a_direction(values, scale) -> None:
    now, previous = row(values, values, scale=scale), row(values, 0.0, scale=scale)
    assert weight_cosine_penalty([now], [previous]).item() == pytest.approx(1 - math.sqrt(0.5), rel=1e-4)


@every_penalty
def test_penalties_are_zero_at_equality_and_positive_elsewhere(penalty) -> None:
    a, b = low_rank(5, 4, 2, dtype=torch.float32), low_rank(5, 4, 2, seed=1, dtype=torch.float32)
    assert penalty(a, a).item() == pytest.approx(0, abs=1e-6)
    assert penalty(a, b).item() > 0.1


@every_penalty
def test_penalties_do_not_depend_on_how_an_update_is_factored(penalty) -> None:
    a, b = low_rank(5, 4, 2), low_rank(5, 4, 2, seed=1)
    mix = torch.tensor([[2.0, 1.0], [0.5, 3.0]], dtype=torch.float64)
    refactored = LowRank(a.up @ mix, torch.linalg.solve(mix, a.down) * a.scale, 1.0)
    torch.testing.assert_close(penalty(refactored, b), penalty(a, b))
    assert penalty(refactored, a).item() == pytest.approx(0, abs=1e-12)


@every_penalty
def test_penalties_are_deterministic_and_float64_stays(penalty) -> None:
    a, b = low_rank(5, 4, 2), low_rank(5, 4, 2, seed=1)
    assert penalty(a, b).dtype == torch.float64
    assert penalty(a, b).shape == ()
    assert torch.equal(penalty(a, b), penalty(a, b))


@every_penalty
def test_gradient_is_that_of_finite_differences_and_never_reaches_the_teacher(penalty) -> None:
    a, b = trainable(low_rank(5, 4, 2)), trainable(low_rank(5, 4, 2, seed=1))
    assert torch.autograd.gradcheck(lambda up, down: penalty(LowRank(up, down, 0.5), b.detach()), (a.up, a.down))
    penalty(a, b).backward()
    assert a.up.grad.norm() > 0
    assert a.down.grad.norm() > 0
    assert b.up.grad is None
    assert b.down.grad is None


def test_gradient_never_reaches_the_second_moment() -> None:
    c = ONE.clone().requires_grad_()
    now = trainable(row(1.0, 2.0))
    input_weighted_change(now, row(2.0, 1.0), SecondMoment(c, HALF)).backward()
    assert now.down.grad.norm() > 0
    assert c.grad is None


@every_penalty
def test_learns_to_come_back(penalty) -> None:
    a, b = trainable(low_rank(5, 4, 2)), low_rank(5, 4, 2, seed=1)
    optimizer = torch.optim.Adam([a.up, a.down], lr=0.1)
    first = penalty(a, b).item()
    for _ in range(60):
        optimizer.zero_grad()
        penalty(a, b).backward()
        optimizer.step()
    assert penalty(a, b).item() < 0.1 * first


WITH_MOMENT = {
    "inner": lambda a, b, c: inner_product(a, b),
    "cosine": lambda a, b, c: weight_cosine_penalty([a], [b]),
    "change": input_weighted_change,
    "lock": lambda a, b, c: feature_lock_penalty([a], [b], [c], [torch.tensor(2.0)]),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", WITH_MOMENT.values(), ids=WITH_MOMENT)
def test_half_precision_is_computed_in_float32(function, dtype) -> None:
    a, b = (low_rank(64, 48, 2, seed=seed, dtype=dtype) for seed in (0, 1))
    a, b = (LowRank(100 * x.up, 100 * x.down, x.scale) for x in (a, b))  # products leave the range of float16
    factor = exactly(moment(48)).factor.to(dtype)
    value = function(a, b, SecondMoment(factor, HALF.to(factor)))
    wide = (LowRank(x.up.float(), x.down.float(), x.scale) for x in (a, b))
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert torch.equal(value, function(*wide, SecondMoment(factor.float(), HALF.float())))


@pytest.mark.parametrize(
    "function", [inner_product, lambda a, b: input_weighted_change(a, b, exactly(moment(48).float()))]
)
def test_autocast_does_not_lower_the_precision(function) -> None:
    a, b = (low_rank(64, 48, 4, seed=seed, dtype=torch.float32) for seed in (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = function(a, b)
    assert torch.equal(value, function(a, b))


def test_updates_of_unequal_shape_are_refused() -> None:
    for other in (low_rank(5, 3, 2), low_rank(4, 2, 2)):
        with pytest.raises(ValueError, match="one shape"):
            inner_product(low_rank(4, 3, 2), other)
        with pytest.raises(ValueError, match="one shape"):
            input_weighted_change(low_rank(4, 3, 2), other, exactly(moment(3)))
        with pytest.raises(ValueError, match="one shape"):
            weight_cosine_penalty([low_rank(4, 3, 2)], [other])


@pytest.mark.parametrize("shape", [(4, 3), (2, 2)])
def test_a_second_moment_of_other_inputs_is_refused(shape) -> None:
    with pytest.raises(ValueError, match="of 3 inputs"):
        input_weighted_change(low_rank(4, 3, 2), low_rank(4, 3, 2), SecondMoment(torch.zeros(shape), torch.zeros(())))


@pytest.mark.parametrize(
    ("shape", "rest"), [((3,), 0.0), ((1, 3, 3), 0.0), ((3, 2), [0.0]), ((3, 2), -1.0), ((3, 2), math.nan)]
)
def test_a_second_moment_that_is_none_is_refused(shape, rest) -> None:
    with pytest.raises(ValueError, match="second moment"):
        SecondMoment(torch.zeros(shape), torch.tensor(rest))


@pytest.mark.parametrize(("now", "previous"), [(0, 0), (1, 2), (2, 1)])
def test_modules_that_do_not_pair_up_are_refused(now, previous) -> None:
    one = row(1.0, 0.0)
    with pytest.raises(ValueError, match="one update before and one now"):
        weight_cosine_penalty([one] * now, [one] * previous)
    with pytest.raises(ValueError, match="one update before and one now"):
        feature_lock_penalty([one] * now, [one] * previous, [exactly(ONE)] * now, [ONE[0, 0]] * now)


@pytest.mark.parametrize(("moments", "energies"), [([], [ONE[0, 0]]), ([exactly(ONE)], [])])
def test_feature_lock_needs_as_many_moments_and_energies_as_modules(moments, energies) -> None:
    with pytest.raises(ValueError, match="as many"):
        feature_lock_penalty([row(1.0, 0.0)], [row(1.0, 0.0)], moments, energies)
