"""The closed-form locks: how much outputs change for given inputs."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.losses.weight_regularization import (
    LowRank,
    SecondMoment,
    feature_lock_penalty,
    input_weighted_change,
)
from tests.unit.losses.low_ranks import HALF, ONE, SHAPES, delta, exactly, low_rank, moment, row


def test_input_weighted_change_by_hand() -> None:
    second_moment = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    change = input_weighted_change(row(1.0, 1.0, scale=2.0), row(1.0, 4.0, scale=0.5), exactly(second_moment))
    assert change.item() == pytest.approx(1.5**2 * 2.0)  # D = (2, 2) - (0.5, 2) = (1.5, 0)


@pytest.mark.parametrize(("out", "inner", "rank_a", "rank_b"), SHAPES)
def test_input_weighted_change_agrees_with_the_formed_updates_and_is_symmetric(out, inner, rank_a, rank_b) -> None:
    now, previous, c = low_rank(out, inner, rank_a), low_rank(out, inner, rank_b, seed=1, scale=3.0), moment(inner)
    d = delta(now) - delta(previous)
    torch.testing.assert_close(input_weighted_change(now, previous, exactly(c)), torch.trace(d @ c @ d.T))
    torch.testing.assert_close(input_weighted_change(previous, now, exactly(c)), torch.trace(d @ c @ d.T))


def test_input_weighted_change_is_the_mean_squared_change_of_outputs() -> None:
    now, previous = low_rank(4, 3, 2), low_rank(4, 3, 2, seed=1)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    change = x @ (delta(now) - delta(previous)).T
    expected = change.square().sum(1).mean()
    torch.testing.assert_close(input_weighted_change(now, previous, exactly(x.T @ x / 20)), expected)


def test_input_weighted_change_keeps_its_precision_when_little_has_changed() -> None:
    previous = low_rank(8, 9, 3, dtype=torch.float32)
    now = LowRank(previous.up + 1e-4 * low_rank(8, 9, 3, seed=1).up.float(), previous.down, previous.scale)
    d, c = delta(now) - delta(previous), moment(9)
    change = input_weighted_change(now, previous, exactly(c.float()))
    torch.testing.assert_close(change.double(), torch.trace(d @ c @ d.T), rtol=1e-3, atol=0)


@pytest.mark.parametrize("blocks", ["now", "previous"])
def test_a_block_added_at_the_end_changes_outputs_by_that_block_alone(blocks) -> None:
    old, new, c = low_rank(4, 3, 2, dtype=torch.float32), low_rank(4, 3, 1, seed=1, dtype=torch.float32), moment(3)
    grown = LowRank(torch.cat([old.up, new.up], 1), torch.cat([old.down, new.down]), old.scale)
    pair = (grown, old) if blocks == "now" else (old, grown)
    expected = torch.trace(delta(new) @ c @ delta(new).T).float()
    torch.testing.assert_close(input_weighted_change(*pair, exactly(c.float())), expected)


def test_what_no_input_reaches_does_not_count() -> None:
    second_moment = torch.diag(torch.tensor([1.0, 0.0]))
    assert input_weighted_change(row(2.0, 5.0), row(2.0, -9.0), exactly(second_moment)).item() == 0


def test_change_and_lock_are_quadratic_in_the_change() -> None:
    now, nothing, c = low_rank(4, 3, 2), LowRank(torch.zeros(4, 1), torch.zeros(1, 3), 1.0), moment(3)
    doubled = LowRank(now.up, now.down, 2 * now.scale)
    torch.testing.assert_close(
        input_weighted_change(doubled, nothing, exactly(c)), 4 * input_weighted_change(now, nothing, exactly(c))
    )


def test_feature_lock_by_hand_is_a_mean_of_relative_changes() -> None:
    now, previous = [row(3.0, 0.0), row(0.0, 1.0)], [row(1.0, 0.0), row(0.0, 2.0)]
    moments = [exactly(2 * ONE), exactly(3 * ONE)]
    penalty = feature_lock_penalty(now, previous, moments, [torch.tensor(4.0), torch.tensor(6.0)])
    assert penalty.item() == pytest.approx((4 * 2 / 4 + 1 * 3 / 6) / 2)


def test_feature_lock_does_not_depend_on_the_units_of_a_module() -> None:
    now, previous, c = low_rank(4, 3, 2), low_rank(4, 3, 2, seed=1), moment(3)
    larger = feature_lock_penalty([now], [previous], [exactly(100 * c)], [torch.tensor(200.0)])
    torch.testing.assert_close(feature_lock_penalty([now], [previous], [exactly(c)], [torch.tensor(2.0)]), larger)


def test_the_rest_counts_in_every_direction_alike() -> None:
    now, previous, c = low_rank(4, 3, 2), low_rank(4, 3, 2, seed=1), moment(3)
    whole = c + 0.5 * torch.eye(3, dtype=torch.float64)
    apart = input_weighted_change(now, previous, SecondMoment(exactly(c).factor, HALF))
    torch.testing.assert_close(apart, input_weighted_change(now, previous, exactly(whole)))


def test_the_energy_of_a_moment_is_that_of_the_outputs() -> None:
    weight = low_rank(4, 3, 2).up @ low_rank(4, 3, 2).down
    whole = moment(3) + 0.5 * torch.eye(3, dtype=torch.float64)
    found = SecondMoment(exactly(moment(3)).factor, HALF).energy(weight)
    torch.testing.assert_close(found, torch.trace(weight @ whole @ weight.T))


def test_a_stack_of_modules_is_each_of_them() -> None:
    pairs = [(low_rank(4, 3, 2, seed=i), low_rank(4, 3, 1, seed=i + 5)) for i in range(3)]
    moments = [SecondMoment(exactly(moment(3, seed=i)).factor, (i + 1) * HALF) for i in range(3)]
    energies = [torch.tensor(float(i + 1), dtype=torch.float64) for i in range(3)]
    now, previous = (
        LowRank(torch.stack([p[i].up for p in pairs]), torch.stack([p[i].down for p in pairs]), 0.5) for i in (0, 1)
    )
    stack = SecondMoment(torch.stack([m.factor for m in moments]), torch.stack([m.rest for m in moments]))
    one_by_one = [input_weighted_change(a, b, c) for (a, b), c in zip(pairs, moments, strict=True)]
    torch.testing.assert_close(input_weighted_change(now, previous, stack), torch.stack(one_by_one))
    alone, other = (row(3.0, 0.0), row(1.0, 0.0)), exactly(2 * ONE)
    together = feature_lock_penalty(
        [now, alone[0]], [previous, alone[1]], [stack, other], [torch.stack(energies), ONE[0, 0]]
    )
    apart = feature_lock_penalty(
        [*(a for a, _ in pairs), alone[0]],
        [*(b for _, b in pairs), alone[1]],
        [*moments, other],
        [*energies, ONE[0, 0]],
    )
    torch.testing.assert_close(together, apart)
