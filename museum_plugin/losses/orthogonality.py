"""O-LoRA's orthogonality: a new style reads directions of its input that no old style reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from museum_plugin.losses.denoising import in_working_precision, without_autocast


def orthogonality_penalty(old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """How much of the input that a new rank block reads is read by the old blocks, too.

        mean_m || A_m A'_m^T ||_F^2 / (||A_m||_F^2 ||A'_m||_F^2)

    Source: O-LoRA, arXiv:2310.14152, eq. 7: the squares of all entries of A'^T A, A being what reads the input. Ours:
    the division, since A could also become orthogonal by becoming small; and the mean over modules.

    Args:
        old: (r', in) downs A' of all old blocks of each module; never receives a gradient.
        new: (r, in) down A of the new block, same modules in the same order.
    Returns:
        Scalar in 0..1 up to rounding; a block of zeros counts as 0; float32, or float64 if an input is.
    Raises:
        ValueError: there are no modules, their numbers differ, or the widths of a pair differ.
    """
    if len(old) != len(new) or not old:
        raise ValueError(f"old and new downs of each module, found {len(old)} and {len(new)}")
    parts = []
    for before, down in zip(old, new, strict=True):
        if before.ndim != 2 or down.ndim != 2 or before.shape[1] != down.shape[1]:
            raise ValueError(f"downs must be (r, in) of one width, found {tuple(before.shape)}, {tuple(down.shape)}")
        before, down = in_working_precision(before.detach(), down)
        with without_autocast(down):  # autocast would do the product in half precision
            overlap = (down @ before.T).square().sum()
        energy = down.square().sum() * before.square().sum()
        parts.append(overlap / torch.where(energy > 0, energy, 1))
    return torch.stack(parts).mean()
