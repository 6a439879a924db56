"""The denoising loss that a run asks for: compare element by element, take the mean of each sample, weigh samples."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.config.schema import LossConfig
from museum_plugin.losses.denoising import (
    debiased_weight,
    min_snr_weight,
    noise_like_weight,
    squared_error,
    v_like_weight,
)
from museum_plugin.losses.robust import (
    absolute_error,
    constant_threshold,
    exponential_threshold,
    pseudo_huber,
    smooth_l1,
    snr_threshold,
)
from museum_plugin.methods.method import Step


def elementwise_loss(pred: Tensor, target: Tensor, step: Step, loss: LossConfig, timesteps: int) -> Tensor:
    """(B, C, h, w): how far each value of a prediction is from its target, by `loss_type`.

    Args:
        step: t and alpha_bar of the samples.
        timesteps: T of the base model.
    """
    if loss.loss_type == "l2":
        return squared_error(pred, target)
    if loss.loss_type == "l1":
        return absolute_error(pred, target)
    threshold = huber_threshold(step, loss, timesteps)
    return (pseudo_huber if loss.loss_type == "huber" else smooth_l1)(pred, target, threshold)


def huber_threshold(step: Step, loss: LossConfig, timesteps: int) -> Tensor:
    """(B,): where huber and smooth_l1 turn linear, by `huber_schedule`."""
    if loss.huber_schedule == "constant":
        return constant_threshold(step.t, loss.huber_c, loss.huber_scale)
    if loss.huber_schedule == "exponential":
        return exponential_threshold(step.t, timesteps, loss.huber_c, loss.huber_scale)
    return snr_threshold(step.alpha_bar, loss.huber_c)


def weighted(per_sample: Tensor, alpha_bar: Tensor, prediction_type: str, loss: LossConfig) -> Tensor:
    """(B,) losses times their weights for the noise level, in sd-scripts' order."""
    if loss.min_snr_gamma is not None:
        per_sample = per_sample * min_snr_weight(alpha_bar, loss.min_snr_gamma, prediction_type)
    if loss.scale_v_pred_loss_like_noise_pred:
        per_sample = per_sample * noise_like_weight(alpha_bar)
    if loss.v_pred_like_loss is not None:
        per_sample = per_sample * v_like_weight(alpha_bar, loss.v_pred_like_loss)
    if loss.debiased_estimation_loss:
        per_sample = per_sample * debiased_weight(alpha_bar, prediction_type)
    return per_sample
