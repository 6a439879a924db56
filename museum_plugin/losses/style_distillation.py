"""Style distillation: pull what the student draws toward the mean latent of the style it is learning."""

from __future__ import annotations

import math

from torch import Tensor

from museum_plugin.losses.denoising import in_working_precision


def style_distillation_loss(pred_x0: Tensor, style_mean: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL divergence of each predicted clean latent from the style's mean latent, both read as distributions.

        loss_b = sum_j p_bj (log p_bj - log q_j),  p_b = softmax(pred_x0_b / T),  q = softmax(style_mean / T)

    Source: MuseumMaker, arXiv:2404.16612, L_SDL. Ours: as printed it compares encoded pictures, on which nothing that
    is trained acts, so the predicted x0 takes their place; and the softmax runs over all C*H*W values of a sample.
    Multiply by `style_distillation_weight` before summing up.

    Args:
        pred_x0: (B, C, H, W) predicted clean latents, in scaled latent units.
        style_mean: (C, H, W) mean latent of the style in this bucket, same units; never receives a gradient.
        temperature: T > 0; it divides both sides, and a larger T weighs all positions more evenly.
    Returns:
        (B,) loss in nats, >= 0 up to rounding, unweighted; float32, or float64 if an input is.
    Raises:
        ValueError: shapes do not agree, a tensor is empty, or temperature is not a finite number > 0.
    """
    if pred_x0.ndim != 4 or pred_x0.shape[1:] != style_mean.shape:
        raise ValueError(
            f"pred_x0 must be (B, C, H, W) and style_mean (C, H, W), "
            f"found {tuple(pred_x0.shape)} and {tuple(style_mean.shape)}"
        )
    if pred_x0.numel() == 0:
        raise ValueError(f"pred_x0 must not be empty, found {tuple(pred_x0.shape)}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and greater than 0, found {temperature}")
    pred_x0, style_mean = in_working_precision(pred_x0, style_mean.detach())
    log_p = (pred_x0.flatten(1) / temperature).log_softmax(1)
    log_q = (style_mean.flatten() / temperature).log_softmax(0)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def style_distillation_weight(alpha_bar_t: Tensor) -> Tensor:
    """The factor of each sample's style distillation loss: w_b = alpha_bar_t.

    Why: in terms of x0 the epsilon loss weighs SNR = alpha_bar / (1 - alpha_bar), which vanishes at high noise, while
    the distillation loss, about Var(pred_x0 - style_mean) / (2 T^2), does not. Unweighted it wins there, and every
    picture starts from the mean picture. With this factor the best prediction moves from the true one toward the mean
    by at most w / (2 T^2 + w) at any t, where w is the term's weight: 1.24 % for w = 0.1, T = 2. It is kept apart from
    the loss so that the loss stays the printed formula and knows no noise schedule.

    Source: ours.

    Args:
        alpha_bar_t: (B,) share of the variance that is signal at each sample's t, 0..1.
    Returns:
        (B,) factors in 0..1, without gradient; float32, or float64 if the input is.
    Raises:
        ValueError: alpha_bar_t is not (B,), or a value is outside 0..1 or not a number.
    """
    if alpha_bar_t.ndim != 1:
        raise ValueError(f"alpha_bar_t must be (B,), found {tuple(alpha_bar_t.shape)}")
    (factor,) = in_working_precision(alpha_bar_t.detach())
    if not bool(((factor >= 0) & (factor <= 1)).all()):
        raise ValueError("alpha_bar_t must lie between 0 and 1")
    return factor
