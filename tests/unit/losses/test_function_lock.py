from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.losses.function_lock import balanced_mean, function_lock_loss, lost_share


def predictions(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(seed))


def test_function_lock_by_hand() -> None:
    pred, teacher = torch.tensor([[1.0, 5.0], [2.0, 2.0]]), torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert function_lock_loss(pred, teacher).tolist() == [8.0, 0.0]


def test_function_lock_agrees_with_float64_is_symmetric_and_deterministic() -> None:
    pred, teacher = predictions(), predictions(1)
    exact = torch.stack([(p - t).double().pow(2).mean() for p, t in zip(pred, teacher, strict=True)])
    loss = function_lock_loss(pred, teacher)
    torch.testing.assert_close(loss, exact.float())
    torch.testing.assert_close(loss, function_lock_loss(teacher, pred))
    assert torch.equal(loss, function_lock_loss(pred, teacher))
    assert function_lock_loss(pred.double(), teacher.double()).dtype == torch.float64


def test_function_lock_of_half_precision_does_not_overflow() -> None:
    loss = function_lock_loss(torch.full((1, 4), 300.0).half(), torch.zeros(1, 4).half())
    assert loss.dtype == torch.float32
    assert loss.item() == 90_000


def test_function_lock_gradient_reaches_the_student_and_never_the_teacher() -> None:
    pred, teacher = predictions().requires_grad_(), predictions(1).requires_grad_()
    function_lock_loss(pred, teacher).sum().backward()
    torch.testing.assert_close(pred.grad, 2 * (pred - teacher).detach() / 16)
    assert teacher.grad is None


def test_function_lock_learns_to_agree_with_the_teacher() -> None:
    pred, teacher = predictions().requires_grad_(), predictions(1)
    optimizer = torch.optim.SGD([pred], lr=2.0)
    first = function_lock_loss(pred, teacher).detach()
    for _ in range(5):
        optimizer.zero_grad()
        function_lock_loss(pred, teacher).sum().backward()
        optimizer.step()
    assert (function_lock_loss(pred, teacher) < 0.1 * first).all()


def test_function_lock_refuses_shapes_that_do_not_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        function_lock_loss(torch.zeros(2, 3), torch.zeros(1, 3))


def test_balanced_mean_by_hand_counts_each_group_once() -> None:
    losses = torch.tensor([1.0, 2.0, 3.0, 10.0])
    assert balanced_mean(losses, [7, 7, 7, -1]).item() == pytest.approx(6.0)  # (2 + 10) / 2
    assert balanced_mean(losses, [0, 1, 1, 1]).item() == pytest.approx(3.0)  # (1 + 5) / 2


@pytest.mark.parametrize("groups", [[0, 0, 0, 0], [3, 2, 1, 0], [5, 8, 8, 5]])
def test_balanced_mean_of_equal_groups_is_the_mean(groups) -> None:
    losses = torch.tensor([1.0, 2.0, 3.0, 10.0])
    assert balanced_mean(losses, groups).item() == pytest.approx(4.0)


def test_balanced_mean_does_not_see_how_often_a_group_was_drawn_nor_the_order() -> None:
    once, often = torch.tensor([1.0, 10.0]), torch.tensor([10.0, 1.0, 10.0, 10.0])
    torch.testing.assert_close(balanced_mean(once, [0, 1]), balanced_mean(often, [1, 0, 1, 1]))


def test_balanced_mean_shares_the_gradient_between_groups() -> None:
    losses = torch.ones(4, requires_grad=True)
    balanced_mean(losses, [0, 1, 1, 1]).backward()
    torch.testing.assert_close(losses.grad, torch.tensor([1 / 2, 1 / 6, 1 / 6, 1 / 6]))


def test_balanced_mean_lets_a_loss_that_is_not_finite_be_seen() -> None:
    assert balanced_mean(torch.tensor([1.0, math.nan]), [0, 1]).isnan()


def test_balanced_mean_keeps_float64_and_widens_half_precision() -> None:
    losses = torch.tensor([60_000.0, 60_000.0, 1.0])
    assert balanced_mean(losses.half(), [0, 0, 1]).dtype == torch.float32
    assert balanced_mean(losses.half(), [0, 0, 1]).item() == pytest.approx(30_000.5)
    third = balanced_mean(torch.ones(3, dtype=torch.float64), [0, 1, 2])
    assert third.dtype == torch.float64
    assert third.item() == pytest.approx(1.0, rel=1e-15)


def test_balanced_mean_takes_the_groups_of_an_integer_tensor() -> None:
    losses = torch.tensor([1.0, 2.0, 3.0, 10.0])
    assert balanced_mean(losses, torch.tensor([7, 7, 7, -1])).item() == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("losses", "groups"),
    [
        (torch.ones(2), [0]),
        (torch.ones(1), [0, 1]),
        (torch.ones(0), []),
        (torch.ones(2, 1), [0, 1]),
        (torch.tensor(1.0), [0]),
        (torch.ones(2), [0.5, 0.7]),
        (torch.ones(2), ["ink", "dots"]),
    ],
)
def test_balanced_mean_refuses_bad_arguments(losses, groups) -> None:
    with pytest.raises(ValueError, match="group"):
        balanced_mean(losses, groups)


def test_lost_share_by_hand() -> None:
    base, teacher = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert lost_share(teacher, teacher, base) == 0
    assert lost_share(base, teacher, base) == 1
    assert lost_share(teacher + torch.tensor([[0.0, 0.0], [1.0, 2.0]]), teacher, base) == pytest.approx(5 / 25)
    assert lost_share(teacher, teacher, base + 1) == 0
    assert lost_share(base, teacher, base + 1) == pytest.approx(25 / (4 + 9 + 1 + 1))


def test_lost_share_refuses_what_has_no_share() -> None:
    some = torch.ones(2, 3)
    for others in ((some, torch.ones(3, 2), some), (some[:0], some[:0], some[:0]), (some, some, some)):
        with pytest.raises(ValueError, match=r"one shape|nothing to lose"):
            lost_share(*others)
