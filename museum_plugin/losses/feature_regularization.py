"""Feature regularization: keep what chosen blocks of the denoiser compute for old prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from museum_plugin.losses.denoising import denoising_loss, in_working_precision


def feature_change_loss(now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Relative mean square change of each sample's features, averaged over blocks.

        loss_b = mean_k  mean_j (now_kbj - before_kbj)^2 / mean_j before_kbj^2

    Source: MuseumMaker, arXiv:2404.16612, feature part of the dual regularization, as we read it. Ours: the division,
    so that blocks with large and small features weigh alike; it is done per sample, so that a sample's loss does not
    depend on the rest of its batch. Features that were all zero have no scale: their change counts absolutely.

    Args:
        now: the student's features at the chosen blocks, each (B, ...); shapes may differ between blocks.
        before: the previous museum's for the same noisy latents, t and prompts; never receives a gradient.
    Returns:
        (B,) loss >= 0, unweighted, without unit; float32, or float64 if an input is.
    Raises:
        ValueError: there are no blocks, their numbers or batch sizes differ, or the shapes of a pair differ.
    """
    if len(now) != len(before) or len(now) == 0:
        raise ValueError(f"one tensor before and one now for each block, found {len(before)} and {len(now)}")
    blocks = [_relative_change(student, teacher) for student, teacher in zip(now, before, strict=True)]
    if len({block.shape for block in blocks}) != 1:
        raise ValueError(f"all blocks must have one batch size, found {[len(block) for block in blocks]}")
    return torch.stack(in_working_precision(*blocks)).mean(0)


def _relative_change(now: Tensor, before: Tensor) -> Tensor:
    change = denoising_loss(now, before)  # the same mean square; it detaches the teacher and checks the shapes
    size = denoising_loss(before, torch.zeros_like(before)).detach()
    return change / torch.where(size > torch.finfo(size.dtype).tiny, size, 1)
