"""C-LoRA's self-regularization."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.losses.self_regularization import self_regularization_penalty
from museum_plugin.losses.weight_regularization import LowRank
from tests.unit.losses.low_ranks import SHAPES, ZERO, delta, low_rank, row, trainable


def test_the_penalty_by_hand() -> None:
    now, previous = [row(3.0, 5.0), row(1.0, 1.0, scale=2.0)], [row(1.0, 0.0, scale=2.0), row(1.0, 2.0)]
    old = 2**4 + 1**4 + 2**4
    assert self_regularization_penalty(now, previous).item() == pytest.approx((2**2 * 1 + 1 * 1 + 2**2 * 0) / old)


@pytest.mark.parametrize(("out", "inner", "rank_a", "rank_b"), SHAPES)
def test_it_agrees_with_the_formed_updates(out: int, inner: int, rank_a: int, rank_b: int) -> None:
    now, previous = low_rank(out, inner, rank_a), low_rank(out, inner, rank_b, seed=1, scale=3.0)
    expected = (delta(previous) * (delta(now) - delta(previous))).square().sum() / delta(previous).pow(4).sum()
    torch.testing.assert_close(self_regularization_penalty([now], [previous]), expected)


def test_it_is_zero_at_rest_one_where_all_is_taken_back_and_free_where_nothing_old_was() -> None:
    previous = low_rank(4, 3, 2)
    nothing = LowRank(torch.zeros(4, 1), torch.zeros(1, 3), 1.0)
    assert self_regularization_penalty([previous], [previous]).item() == pytest.approx(0, abs=1e-20)
    assert self_regularization_penalty([nothing], [previous]).item() == pytest.approx(1)
    assert self_regularization_penalty([previous], [nothing]).item() == 0
    assert self_regularization_penalty([row(2.0, 7.0)], [row(2.0, 0.0)]).item() == 0, "a weight that no old style uses"


def test_it_does_not_depend_on_the_unit_of_the_weights() -> None:
    now, previous = low_rank(4, 3, 2), low_rank(4, 3, 2, seed=1)
    larger = [[LowRank(w.up, w.down, 10 * w.scale)] for w in (now, previous)]
    torch.testing.assert_close(self_regularization_penalty([now], [previous]), self_regularization_penalty(*larger))


def test_only_the_student_gets_a_gradient_and_it_is_that_of_the_formed_updates() -> None:
    now, previous = trainable(low_rank(4, 3, 2)), trainable(low_rank(4, 3, 2, seed=1))
    found = torch.autograd.grad(self_regularization_penalty([now], [previous]), [now.up, now.down])
    before = delta(previous).detach()
    formed = (before * (now.scale * now.up @ now.down - before)).square().sum() / before.pow(4).sum()
    for one, other in zip(found, torch.autograd.grad(formed, [now.up, now.down]), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(self_regularization_penalty([now], [previous]), [previous.up])


def test_what_does_not_belong_together_is_refused() -> None:
    for now, previous in (([], []), ([ZERO], []), ([ZERO], [low_rank(2, 3, 1)])):
        with pytest.raises(ValueError, match="found"):
            self_regularization_penalty(now, previous)
