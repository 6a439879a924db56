"""Function lock (self-replay distillation): predict on old latents what the previous museum predicted."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from museum_plugin.losses.denoising import denoising_loss, in_working_precision


def function_lock_loss(pred: Tensor, teacher_pred: Tensor) -> Tensor:
    """Mean square distance of each sample's prediction from the previous museum's.

        loss_b = mean_j (pred_bj - teacher_pred_bj)^2

    Source: ours, after learning without forgetting, arXiv:1606.09282: the denoising loss with the teacher's prediction
    in place of the noise, because latents that a model drew are no ground truth.

    Args:
        pred: (B, ...) the student's prediction on latents of the bank.
        teacher_pred: (B, ...) the previous museum's, same latents, t, noise and prompts; never receives a gradient.
    Returns:
        (B,) loss >= 0, unweighted; float32, or float64 if an input is.
    Raises:
        ValueError: shapes do not agree, there is nothing after the batch dimension, or a tensor is empty.
    """
    return denoising_loss(pred, teacher_pred)


def lost_share(pred: Tensor, teacher_pred: Tensor, base_pred: Tensor) -> float:
    """How much of what a museum does to its base is lost: sum (pred - teacher)^2 / sum (teacher - base)^2.

    Source: ours. 0: nothing, 1: as much as if the museum did nothing any more.

    Args:
        pred: (N, ...) predictions of the museum as it is now.
        teacher_pred: (N, ...) those of the museum before.
        base_pred: (N, ...) those of the bare base.
    Raises:
        ValueError: shapes do not agree, a tensor is empty, or the museum before did nothing.
    """
    if not pred.shape == teacher_pred.shape == base_pred.shape or pred.numel() == 0:
        shapes = [tuple(tensor.shape) for tensor in (pred, teacher_pred, base_pred)]
        raise ValueError(f"three sets of predictions of one shape, none empty, found {shapes}")
    whole = (teacher_pred.double() - base_pred.double()).square().sum().item()
    if whole == 0:
        raise ValueError("a museum that does nothing to its base has nothing to lose")
    return (pred.double() - teacher_pred.double()).square().sum().item() / whole


def balanced_mean(losses: Tensor, groups: Sequence[int]) -> Tensor:
    """Mean over groups of the mean in each group, so that each style counts alike, however often it was drawn.

        (1 / G) sum_g (1 / n_g) sum_{b in g} loss_b

    Source: ours.

    Args:
        losses: (B,) unweighted.
        groups: for each sample the number of its group, such as the style's place in the ledger; any integers.
    Returns:
        Scalar; float32, or float64 if the input is.
    Raises:
        ValueError: losses is not (B,), B is 0, there is not one group for each sample, or a group is not an integer.
    """
    if losses.ndim != 1 or len(losses) != len(groups) or len(groups) == 0:
        raise ValueError(f"one group for each of the losses (B,), found {len(groups)} and {tuple(losses.shape)}")
    try:
        numbers = [operator.index(group) for group in groups]
    except TypeError as error:
        raise ValueError(f"groups must be integers: {error}") from error
    sizes = Counter(numbers)
    (losses,) = in_working_precision(losses)
    shares = [1 / (len(sizes) * sizes[number]) for number in numbers]
    return (losses * torch.tensor(shares, dtype=losses.dtype, device=losses.device)).sum()
