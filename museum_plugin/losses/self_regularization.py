"""C-LoRA's self-regularization: what a new style changes keeps away from weights that old styles have changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from museum_plugin.losses.denoising import in_working_precision, without_autocast
from museum_plugin.losses.weight_regularization import LowRank


def self_regularization_penalty(now: Sequence[LowRank], previous: Sequence[LowRank]) -> Tensor:
    """The new change of each weight, counted by how much old styles have changed that weight.

        sum_m || delta'_m o (delta_m - delta'_m) ||_F^2  /  sum_m || delta'_m o delta'_m ||_F^2

    Source: C-LoRA, arXiv:2304.06027, eq. 4: || [sum of old A B] o (new A B) ||_F^2. In a shared LoRA the previous
    museum is that sum and what has been added since is the new change. Ours: the division, so that a weight means the
    same for every model: 1 where everything old is taken back. Needs the full out x in matrix of one module at a time.

    Args:
        now: the student's update of each module.
        previous: the previous museum's, same modules in the same order; never receives a gradient.
    Returns:
        Scalar >= 0, without unit; 0 where nothing old was changed; float32, or float64 if an input is.
    Raises:
        ValueError: there are no modules, their numbers differ, or the shapes of a pair differ.
    """
    if len(now) != len(previous) or not now:
        raise ValueError(f"one update before and one now for each module, found {len(previous)} and {len(now)}")
    changed, old = [], []
    for a, b in zip(now, previous, strict=True):
        b = b.detach()
        if (a.up.shape[0], a.down.shape[1]) != (b.up.shape[0], b.down.shape[1]):
            raise ValueError(f"two updates must have one shape, found {_shape(a)} and {_shape(b)}")
        changed.append(checkpoint(_overlap, a.up, a.down, a.scale, b, use_reentrant=False, preserve_rng_state=False))
        with torch.no_grad():
            old.append(_formed(b.up, b.down, b.scale).pow(4).sum())
    total = torch.stack(old).sum()
    return torch.stack(changed).sum() / torch.where(total > 0, total, 1)


def _overlap(up: Tensor, down: Tensor, scale: float, previous: LowRank) -> Tensor:
    before = _formed(previous.up, previous.down, previous.scale)
    return (before * (_formed(up, down, scale) - before)).square().sum()


def _formed(up: Tensor, down: Tensor, scale: float) -> Tensor:
    up, down = in_working_precision(up, down)
    with without_autocast(up):  # autocast would do the product in half precision
        return scale * (up @ down)


def _shape(update: LowRank) -> tuple[int, int]:
    return update.up.shape[0], update.down.shape[1]
