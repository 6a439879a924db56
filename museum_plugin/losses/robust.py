"""Elementwise losses that outliers pull less than the square, and the thresholds at which two of them turn linear."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from museum_plugin.losses.denoising import comparable, signal_to_noise


def absolute_error(pred: Tensor, target: Tensor) -> Tensor:
    """|pred - target|, elementwise.

    Source: sd-scripts loss_type "l1".

    Args:
        pred: (B, ...) prediction of the denoiser.
        target: (B, ...) what it should be; never receives a gradient.
    Returns:
        (B, ...) >= 0; float32, or float64 if an input is.
    Raises:
        ValueError: as `squared_error`.
    """
    pred, target = comparable(pred, target)
    return (pred - target).abs()


def pseudo_huber(pred: Tensor, target: Tensor, threshold: Tensor) -> Tensor:
    """The square where the error is small, a straight line of slope 2 c where it is large.

        2 c (sqrt((pred - target)^2 + c^2) - c)

    Source: sd-scripts loss_type "huber"; the pseudo-Huber loss of improved consistency models, arXiv:2310.14189, times
    2 c, so that it is the square for small errors.

    Args:
        pred: (B, ...) prediction of the denoiser.
        target: (B, ...) what it should be; never receives a gradient.
        threshold: (B,) c > 0 of each sample, in units of the prediction.
    Returns:
        (B, ...) >= 0; float32, or float64 if an input is.
    Raises:
        ValueError: as `squared_error`, or threshold is not (B,) and above 0.
    """
    c = _broadcast(threshold, pred)
    return 2 * c * _rounded_corner(pred, target, c)


def smooth_l1(pred: Tensor, target: Tensor, threshold: Tensor) -> Tensor:
    """Twice the absolute error where it is large, with a round bottom: the pseudo-Huber loss divided by c.

        2 (sqrt((pred - target)^2 + c^2) - c)

    Source: sd-scripts loss_type "smooth_l1".

    Args, Returns, Raises: as `pseudo_huber`.
    """
    return 2 * _rounded_corner(pred, target, _broadcast(threshold, pred))


def _rounded_corner(pred: Tensor, target: Tensor, c: Tensor) -> Tensor:
    """sqrt(d^2 + c^2) - c, without the cancellation where d is small beside c."""
    pred, target = comparable(pred, target)
    square = (pred - target).square()
    return square / ((square + c.square()).sqrt() + c)


def _broadcast(threshold: Tensor, pred: Tensor) -> Tensor:
    if threshold.shape != pred.shape[:1] or not bool((threshold > 0).all()):
        raise ValueError(f"threshold must be (B,) and above 0, found {threshold.tolist()} for {tuple(pred.shape)}")
    return threshold.view(-1, *(1 for _ in pred.shape[1:]))


def constant_threshold(t: Tensor, huber_c: float, scale: float) -> Tensor:
    """c = huber_c * scale at every t.

    Source: sd-scripts huber_schedule "constant".

    Args:
        t: (B,) timesteps; only their number counts.
        huber_c: > 0.
        scale: > 0.
    Returns:
        (B,) float32.
    Raises:
        ValueError: huber_c or scale is not > 0.
    """
    _check_positive(huber_c=huber_c, scale=scale)
    return torch.full(t.shape, huber_c * scale, dtype=torch.float32, device=t.device)


def exponential_threshold(t: Tensor, timesteps: int, huber_c: float, scale: float) -> Tensor:
    """c falls from `scale` at t = 0 towards scale * huber_c at the last t.

        c_b = scale * huber_c^(t_b / T)

    Source: sd-scripts huber_schedule "exponential".

    Args:
        t: (B,) timesteps, 0 .. T-1.
        timesteps: T > 0.
        huber_c: > 0.
        scale: > 0.
    Returns:
        (B,) float32.
    Raises:
        ValueError: timesteps, huber_c or scale is not > 0.
    """
    _check_positive(huber_c=huber_c, scale=scale, timesteps=timesteps)
    return torch.exp(math.log(huber_c) / timesteps * t.float()) * scale


def snr_threshold(alpha_bar_t: Tensor, huber_c: float) -> Tensor:
    """c falls from 1 without noise to huber_c without signal.

        c_b = (1 - huber_c) / (1 + sigma_b)^2 + huber_c,  sigma = sqrt((1 - alpha_bar) / alpha_bar) = SNR^(-1/2)

    Source: sd-scripts huber_schedule "snr", which does not read huber_scale.

    Args:
        alpha_bar_t: (B,) share of the variance that is signal at each sample's t, 0..1.
        huber_c: > 0.
    Returns:
        (B,) between huber_c and 1; float32, or float64 if the input is.
    Raises:
        ValueError: huber_c is not > 0, or alpha_bar_t is outside 0..1.
    """
    _check_positive(huber_c=huber_c)
    sigma = signal_to_noise(alpha_bar_t).rsqrt()
    return (1 - huber_c) / (1 + sigma).square() + huber_c


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be greater than 0 and finite, found {number}")
