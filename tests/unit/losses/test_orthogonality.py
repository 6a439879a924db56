"""O-LoRA's orthogonality."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.losses.orthogonality import orthogonality_penalty


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_penalty_by_hand_is_a_mean_over_modules() -> None:
    old = [torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0]])]
    new = [torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, -2.0]])]
    assert orthogonality_penalty(old, new).item() == pytest.approx((3**2 + 2**2) / (5 * 10) / 2)


def test_it_is_the_squared_cosine_of_two_rows_and_zero_for_orthogonal_blocks() -> None:
    a, b = randn(1, 5), randn(1, 5, seed=1)
    cosine = torch.nn.functional.cosine_similarity(a, b)[0]
    torch.testing.assert_close(orthogonality_penalty([a], [b]), cosine.square())
    basis = torch.linalg.qr(randn(5, 5)).Q
    assert orthogonality_penalty([randn(2, 2) @ basis[:2]], [randn(2, 3) @ basis[2:]]).item() < 1e-30
    assert orthogonality_penalty([a], [torch.zeros(1, 5, dtype=torch.float64)]).item() == 0


def test_it_does_not_fall_when_a_block_shrinks() -> None:
    old, new = randn(2, 5), randn(3, 5, seed=1)
    torch.testing.assert_close(orthogonality_penalty([old], [new]), orthogonality_penalty([old], [1e-3 * new]))


def test_going_down_its_gradient_makes_a_block_orthogonal_and_moves_no_old_one() -> None:
    old, new = randn(2, 8).requires_grad_(), randn(2, 8, seed=1).requires_grad_()
    start = orthogonality_penalty([old], [new]).item()
    optimizer = torch.optim.SGD([old, new], lr=20.0)
    for _ in range(200):
        optimizer.zero_grad()
        orthogonality_penalty([old], [new]).backward()
        optimizer.step()
    assert orthogonality_penalty([old], [new]).item() < 1e-3 * start
    assert old.grad is None


def test_what_does_not_belong_together_is_refused() -> None:
    for old, new in (([], []), ([randn(1, 2)], []), ([randn(1, 2)], [randn(1, 3)]), ([randn(2)], [randn(2)])):
        with pytest.raises(ValueError, match="found"):
            orthogonality_penalty(old, new)
