"""Elastic weight consolidation: the score whose squared gradient is the Fisher information, and the penalty."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.losses.elastic_weights import elastic_penalty, fisher_score


def test_a_score_by_hand() -> None:
    pred, noise = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([[1.0, 0.5], [-1.0, 2.0]])
    assert fisher_score(pred, noise).item() == pytest.approx((1 + 1 - 3 - 2) / 2)


def test_the_mean_squared_gradient_of_scores_is_the_mean_squared_derivative_of_the_prediction() -> None:
    """Of pred = J theta it is mean_j J_ji^2, in float64 and to the accuracy of 20,000 draws."""
    rng = torch.Generator().manual_seed(0)
    jacobian = torch.randn(6, 3, generator=rng, dtype=torch.float64)
    theta = torch.ones(3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(20_000, 6, generator=rng, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(fisher_score(jacobian @ theta, noise[0]), theta)
    torch.testing.assert_close(gradient, jacobian.T @ noise[0] / 6**0.5)
    squares = (noise @ jacobian / 6**0.5).square().mean(0)
    torch.testing.assert_close(squares, jacobian.square().mean(0), rtol=0.03, atol=0)


def test_the_penalty_by_hand() -> None:
    now, previous = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])], [torch.tensor([0.0, 4.0]), torch.tensor([[1.0]])]
    fisher = [torch.tensor([2.0, 0.5]), torch.tensor([[3.0]])]
    assert elastic_penalty(now, previous, fisher).item() == pytest.approx(2 * 1 + 0.5 * 4 + 3 * 4)
    assert elastic_penalty(now, now, fisher).item() == 0


def test_numbers_that_nothing_depends_on_are_free_and_only_the_student_gets_a_gradient() -> None:
    now, previous, fisher = (torch.tensor(x, requires_grad=True) for x in ([5.0, 5.0], [1.0, 1.0], [0.0, 2.0]))
    elastic_penalty([now], [previous], [fisher]).backward()
    assert now.grad is not None
    assert now.grad.tolist() == [0, 2 * 2 * 4]
    assert previous.grad is None
    assert fisher.grad is None


def test_half_precision_does_not_overflow() -> None:
    now, previous = torch.full((4,), 300.0, dtype=torch.float16), torch.zeros(4, dtype=torch.float16)
    assert elastic_penalty([now], [previous], [torch.ones(4)]).item() == pytest.approx(4 * 300**2)
    assert fisher_score(now * 100, now).item() == pytest.approx(300 * 30_000 * 4 / 2, rel=1e-3)


def test_what_does_not_belong_together_is_refused() -> None:
    two, three = torch.ones(2), torch.ones(3)
    for bad in (([], [], []), ([two], [three], [two]), ([two], [two], [three]), ([two], [two, two], [two])):
        with pytest.raises(ValueError, match="same shapes"):
            elastic_penalty(*bad)
    for pred, noise in ((two, three), (torch.ones(0), torch.ones(0))):
        with pytest.raises(ValueError, match="one shape"):
            fisher_score(pred, noise)
