"""The denoising loss and what sd-scripts users may change about it: min-SNR weighting and offset noise."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction")


def in_working_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the one dtype that a loss is computed in: their widest, and float32 at least.

    Source: ours; a square of a float16 value overflows above 256.

    Raises:
        ValueError: a tensor is not of a real floating point type.
    """
    for tensor in tensors:
        if not tensor.is_floating_point():
            raise ValueError(f"a loss needs floating point tensors, found {tensor.dtype}")
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return tuple(tensor.to(dtype) for tensor in tensors)


def denoising_loss(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean square error of each sample's prediction.

        loss_b = mean_j (pred_bj - target_bj)^2

    Source: DDPM, arXiv:2006.11239, eq. 14, kept apart per sample as sd-scripts does (loss_type "l2").

    Args:
        pred: (B, ...) prediction of the denoiser, unit variance scale.
        target: (B, ...) noise, or velocity for v_prediction; never receives a gradient.
        mask: see `masked`; None counts every place in full.
    Returns:
        (B,) loss >= 0, unweighted; float32, or float64 if an input is.
    Raises:
        ValueError: shapes do not agree, there is nothing after the batch dimension, or a tensor is empty.
    """
    if pred.shape != target.shape:
        raise ValueError(f"pred {tuple(pred.shape)} and target {tuple(target.shape)} must have one shape")
    if pred.ndim < 2 or pred.numel() == 0:
        raise ValueError(f"pred must be (B, ...) and not empty, found {tuple(pred.shape)}")
    pred, target = in_working_precision(pred, target.detach())
    return masked((pred - target).square(), mask).flatten(1).mean(1)


def masked(loss: Tensor, mask: Tensor | None) -> Tensor:
    """The loss of each place times how much that place counts.

        loss_bchw * mask_bhw

    Source: sd-scripts `masked_loss` and `alpha_mask`: the mean afterwards is over all places, masked ones too.

    Args:
        loss: (B, C, h, w) of each element, unweighted; any shape without a mask.
        mask: (B, 1, h, w) in 0..1; None leaves the loss as it is.
    Returns:
        The shape and dtype of `loss`.
    Raises:
        ValueError: shapes do not agree.
    """
    if mask is None:
        return loss
    if loss.ndim != 4 or mask.shape != (len(loss), 1, *loss.shape[2:]):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit a loss of {tuple(loss.shape)}")
    return loss * mask.to(loss.dtype)


def signal_to_noise(alpha_bar: Tensor) -> Tensor:
    """SNR = alpha_bar / (1 - alpha_bar), the ratio of signal to noise variance.

    Source: VDM, arXiv:2107.00630, for a variance preserving schedule.

    Args:
        alpha_bar: any shape, share of the variance that is signal, 0..1.
    Returns:
        Same shape, >= 0; infinite where alpha_bar is 1; float32, or float64 if the input is.
    Raises:
        ValueError: a value is outside 0..1 or not a number.
    """
    (alpha_bar,) = in_working_precision(alpha_bar)
    if not bool(((alpha_bar >= 0) & (alpha_bar <= 1)).all()):
        raise ValueError("alpha_bar must lie between 0 and 1")
    return alpha_bar / (1 - alpha_bar)


def min_snr_weight(alpha_bar_t: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """The weight that keeps steps with little noise from ruling the denoising loss.

        epsilon:       w_b = min(SNR_b, gamma) / SNR_b
        v_prediction:  w_b = min(SNR_b, gamma) / (SNR_b + 1)

    Source: Min-SNR, arXiv:2303.09556; sd-scripts `min_snr_gamma`. Ours: at SNR 0 the epsilon weight is its limit, 1.

    Args:
        alpha_bar_t: (B,) share of the variance that is signal at each sample's t, 0..1.
        gamma: > 0; SNR above it is weighed down. The paper uses 5.
        prediction_type: epsilon | v_prediction, what `pred` stands for.
    Returns:
        (B,) factors in 0..1 for epsilon, below gamma / (gamma + 1) or equal for v_prediction; float32, or float64.
    Raises:
        ValueError: alpha_bar_t is not (B,) or outside 0..1, gamma is not > 0, or prediction_type is unknown.
    """
    if alpha_bar_t.ndim != 1:
        raise ValueError(f"alpha_bar_t must be (B,), found {tuple(alpha_bar_t.shape)}")
    if not gamma > 0:
        raise ValueError(f"gamma must be greater than 0, found {gamma}")
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type: found {prediction_type!r}, allowed: {', '.join(PREDICTION_TYPES)}")
    snr = signal_to_noise(alpha_bar_t)
    if prediction_type == "epsilon":
        return (gamma / snr).clamp(max=1)  # min(SNR, gamma) / SNR without 0 / 0
    return snr.clamp(max=gamma) / (snr + 1)


def offset_noise(noise: Tensor, offset: float, rng: torch.Generator) -> Tensor:
    """Noise whose mean differs from channel to channel, so that overall brightness and colour are learned too.

        noise_bchw + offset * s_bc,  s ~ N(0, 1)

    Source: sd-scripts `noise_offset`. Ours: s is drawn in float32 on the generator's device, so that a seed gives the
    same shift in every precision and on every device.

    Args:
        noise: (B, C, H, W) unit normal.
        offset: standard deviation of the shift; 0 leaves the noise as it is.
        rng: draws s, and is advanced by B * C draws even when offset is 0.
    Returns:
        (B, C, H, W) in the dtype and on the device of `noise`.
    Raises:
        ValueError: noise is not (B, C, H, W), or offset is not finite.
    """
    if noise.ndim != 4:
        raise ValueError(f"noise must be (B, C, H, W), found {tuple(noise.shape)}")
    if not math.isfinite(offset):
        raise ValueError(f"offset must be finite, found {offset}")
    shift = torch.randn((*noise.shape[:2], 1, 1), generator=rng, device=rng.device, dtype=torch.float32)
    wide, shift = in_working_precision(noise, shift.to(noise.device))
    return (wide + offset * shift).to(noise.dtype)
