"""Low-rank updates for the tests of what compares them."""

from __future__ import annotations

import torch

from museum_plugin.losses.weight_regularization import (
    LowRank,
    SecondMoment,
)

SHAPES = [(5, 7, 2, 2), (6, 3, 4, 1), (3, 8, 1, 3), (1, 1, 1, 1)]  # out, in, rank of one, rank of the other


def low_rank(out: int, inner: int, rank: int, *, seed: int = 0, scale: float = 0.5, dtype=torch.float64) -> LowRank:
    rng = torch.Generator().manual_seed(seed)
    up, down = torch.randn(out, rank, generator=rng), torch.randn(rank, inner, generator=rng)
    return LowRank(up.to(dtype), down.to(dtype), scale)


def delta(update: LowRank) -> torch.Tensor:
    return update.scale * update.up.double() @ update.down.double()


def moment(inner: int, seed: int = 9) -> torch.Tensor:
    x = torch.randn(50, inner, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.T @ x / 50


def exactly(c: torch.Tensor) -> SecondMoment:
    """A second moment (in, in) given whole."""
    values, vectors = torch.linalg.eigh(c)
    return SecondMoment(vectors * values.clamp(min=0).sqrt(), torch.zeros((), dtype=c.dtype))


def trainable(update: LowRank) -> LowRank:
    return LowRank(update.up.clone().requires_grad_(), update.down.clone().requires_grad_(), update.scale)


def row(*values: float, scale: float = 1.0) -> LowRank:
    """The update whose delta_weight is scale * values, one row."""
    return LowRank(torch.ones(1, 1), torch.tensor([values]), scale)


ONE, ZERO = torch.eye(2), row(0.0, 0.0)
HALF = torch.tensor(0.5, dtype=torch.float64)


# every penalty of one module, as a function of (now, previous)
