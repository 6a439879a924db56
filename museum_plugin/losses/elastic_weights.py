"""Elastic weight consolidation: numbers that old styles depend on stay where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from museum_plugin.losses.denoising import in_working_precision


def fisher_score(pred: Tensor, noise: Tensor) -> Tensor:
    """What the Fisher information is the mean squared gradient of, for one sample of a Gaussian of unit variance.

        s = <noise, pred> / sqrt(D),  D numbers in pred;  E_noise (ds / dtheta_i)^2 = mean_j (dpred_j / dtheta_i)^2

    Source: the Fisher information of N(pred, 1) under the model's own samples, where no true noise is needed. Ours: the
    division by D, after which EWC is the diagonal part of the mean square error's expansion (`function_lock_loss`).

    Args:
        pred: the prediction of one sample, any shape.
        noise: standard normal, same shape; never receives a gradient.
    Returns:
        Scalar; float32, or float64 if an input is.
    Raises:
        ValueError: shapes do not agree, or there is nothing.
    """
    if pred.shape != noise.shape or pred.numel() == 0:
        raise ValueError(f"pred and noise must have one shape, found {tuple(pred.shape)} and {tuple(noise.shape)}")
    pred, noise = in_working_precision(pred, noise.detach())
    return (pred * noise).sum() / math.sqrt(pred.numel())


def elastic_penalty(now: Sequence[Tensor], previous: Sequence[Tensor], fisher: Sequence[Tensor]) -> Tensor:
    """How far numbers have moved, each weighted by how much the old styles depend on it.

        sum_i F_i (theta_i - theta'_i)^2

    Source: Kirkpatrick et al., arXiv:1612.00796, eq. 3; there with a factor of 1/2, which goes into the weight.

    Args:
        now: the student's parameters.
        previous: the previous museum's, same shapes in the same order; never receives a gradient.
        fisher: the diagonal of the Fisher information, >= 0, same shapes; never receives a gradient.
    Returns:
        Scalar >= 0; float32, or float64 if an input is.
    Raises:
        ValueError: there are no parameters, or numbers or shapes differ.
    """
    shapes = [[x.shape for x in group] for group in (now, previous, fisher)]
    if not now or shapes[0] != shapes[1] or shapes[0] != shapes[2]:
        differ = next((trio for trio in zip(*shapes, strict=False) if len(set(trio)) > 1), [len(x) for x in shapes])
        raise ValueError(f"parameters now, before and their fisher must have the same shapes, found {differ}")
    parts = []
    for theta, before, weight in zip(now, previous, fisher, strict=True):
        theta, before, weight = in_working_precision(theta, before.detach(), weight.detach())
        parts.append((weight * (theta - before).square()).sum())
    return torch.stack(parts).sum()
