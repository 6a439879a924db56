"""The denoising loss, and the weights that a sample gets for the signal-to-noise ratio at its t."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import torch
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction")
_HIGHEST_SNR = 1000.0
"""sd-scripts' bound of the SNR in all weights but min-SNR, so that none is 0 or infinite without noise."""


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


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """While inside, products are not cast to half precision on the tensor's device; the meta device casts none."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def comparable(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction and target in the dtype that a loss is computed in, the target without its history.

    Source: ours.

    Raises:
        ValueError: shapes do not agree, there is nothing after the batch dimension, or a tensor is empty.
    """
    if pred.shape != target.shape:
        raise ValueError(f"pred {tuple(pred.shape)} and target {tuple(target.shape)} must have one shape")
    if pred.ndim < 2 or pred.numel() == 0:
        raise ValueError(f"pred must be (B, ...) and not empty, found {tuple(pred.shape)}")
    pred, target = in_working_precision(pred, target.detach())
    return pred, target


def squared_error(pred: Tensor, target: Tensor) -> Tensor:
    """(pred - target)^2, elementwise.

    Source: DDPM, arXiv:2006.11239, eq. 14, before any mean; sd-scripts loss_type "l2".

    Args:
        pred: (B, ...) prediction of the denoiser, unit variance scale.
        target: (B, ...) noise, or velocity for v_prediction; never receives a gradient.
    Returns:
        (B, ...) >= 0; float32, or float64 if an input is.
    Raises:
        ValueError: shapes do not agree, there is nothing after the batch dimension, or a tensor is empty.
    """
    pred, target = comparable(pred, target)
    return (pred - target).square()


def denoising_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Mean square error of each sample's prediction.

        loss_b = mean_j (pred_bj - target_bj)^2

    Source: DDPM, arXiv:2006.11239, eq. 14, kept apart per sample as sd-scripts does (loss_type "l2").

    Args:
        pred: (B, ...) prediction of the denoiser, unit variance scale.
        target: (B, ...) noise, or velocity for v_prediction; never receives a gradient.
    Returns:
        (B,) loss >= 0, unweighted; float32, or float64 if an input is.
    Raises:
        ValueError: as `squared_error`.
    """
    return squared_error(pred, target).flatten(1).mean(1)


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
    if not gamma > 0:
        raise ValueError(f"gamma must be greater than 0, found {gamma}")
    _check_prediction_type(prediction_type)
    snr = _sample_snr(alpha_bar_t)
    if prediction_type == "epsilon":
        return (gamma / snr).clamp(max=1)  # min(SNR, gamma) / SNR without 0 / 0
    return snr.clamp(max=gamma) / (snr + 1)


def noise_like_weight(alpha_bar_t: Tensor) -> Tensor:
    """What turns the weighting of a v prediction's loss into that of a noise prediction's.

        w_b = SNR_b / (SNR_b + 1),  SNR <= 1000

    Source: sd-scripts `scale_v_pred_loss_like_noise_pred`; without the bound w is alpha_bar, for an error of v is an
    error of the noise divided by sqrt(alpha_bar).

    Args:
        alpha_bar_t: (B,) share of the variance that is signal at each sample's t, 0..1.
    Returns:
        (B,) factors in 0..1; float32, or float64 if the input is.
    Raises:
        ValueError: alpha_bar_t is not (B,) or outside 0..1.
    """
    snr = _sample_snr(alpha_bar_t).clamp(max=_HIGHEST_SNR)
    return snr / (snr + 1)


def v_like_weight(alpha_bar_t: Tensor, share: float) -> Tensor:
    """A noise prediction's loss plus a share of the loss weighted as a v prediction's, as one factor.

        w_b = 1 + share (SNR_b + 1) / SNR_b,  SNR <= 1000

    Source: sd-scripts `v_pred_like_loss`.

    Args:
        alpha_bar_t: (B,) share of the variance that is signal at each sample's t, 0..1.
        share: > 0, weight of the added part.
    Returns:
        (B,) factors > 1, infinite where alpha_bar is 0; float32, or float64 if the input is.
    Raises:
        ValueError: alpha_bar_t is not (B,) or outside 0..1, or share is not > 0.
    """
    if not share > 0:
        raise ValueError(f"share must be greater than 0, found {share}")
    return 1 + share / noise_like_weight(alpha_bar_t)


def debiased_weight(alpha_bar_t: Tensor, prediction_type: str) -> Tensor:
    """The weight that gives steps with much noise, where a picture's composition is decided, a larger say.

        epsilon:       w_b = 1 / sqrt(SNR_b)
        v_prediction:  w_b = 1 / (SNR_b + 1)
        SNR <= 1000

    Source: debiased estimation, arXiv:2310.08442; sd-scripts `debiased_estimation_loss`, with its bound and its
    form for v.

    Args:
        alpha_bar_t: (B,) share of the variance that is signal at each sample's t, 0..1.
        prediction_type: epsilon | v_prediction, what `pred` stands for.
    Returns:
        (B,) factors > 0, infinite for epsilon where alpha_bar is 0; float32, or float64 if the input is.
    Raises:
        ValueError: alpha_bar_t is not (B,) or outside 0..1, or prediction_type is unknown.
    """
    _check_prediction_type(prediction_type)
    snr = _sample_snr(alpha_bar_t).clamp(max=_HIGHEST_SNR)
    return snr.rsqrt() if prediction_type == "epsilon" else 1 / (snr + 1)


def _sample_snr(alpha_bar_t: Tensor) -> Tensor:
    if alpha_bar_t.ndim != 1:
        raise ValueError(f"alpha_bar_t must be (B,), found {tuple(alpha_bar_t.shape)}")
    return signal_to_noise(alpha_bar_t)


def _check_prediction_type(prediction_type: str) -> None:
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type: found {prediction_type!r}, allowed: {', '.join(PREDICTION_TYPES)}")
