"""Noise that is not plain: with an offset, with coarse parts, with more of it on the input than in the target."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from museum_plugin.losses.denoising import in_working_precision


def random_strength(maximum: float, rng: torch.Generator) -> float:
    """A strength between 0 and `maximum`, one for a whole batch.

    Source: sd-scripts `noise_offset_random_strength`, `ip_noise_gamma_random_strength`.

    Args:
        maximum: in whatever unit; may be negative.
        rng: draws one uniform number, in float32 on its own device.
    Raises:
        ValueError: maximum is not finite.
    """
    if not math.isfinite(maximum):
        raise ValueError(f"maximum must be finite, found {maximum}")
    return maximum * torch.rand((), generator=rng, device=rng.device, dtype=torch.float32).item()


def adaptive_offset(latents: Tensor, offset: float, scale: float) -> Tensor:
    """A noise offset that grows with the brightness and color that a picture has already.

        o_bc = max(0, offset + scale * |mean_hw latents_bchw|)

    Source: sd-scripts `adaptive_noise_scale`.

    Args:
        latents: (B, C, H, W) scaled latents.
        offset: the offset where a channel's mean is 0.
        scale: what a mean of 1 adds; a negative one takes away, down to no offset at all.
    Returns:
        (B, C, 1, 1) offsets >= 0 for `offset_noise`; float32, or float64 if the input is.
    Raises:
        ValueError: latents is not (B, C, H, W), or offset or scale is not finite.
    """
    _check_pictures("latents", latents)
    if not (math.isfinite(offset) and math.isfinite(scale)):
        raise ValueError(f"offset and scale must be finite, found {offset} and {scale}")
    (wide,) = in_working_precision(latents)
    return (offset + scale * wide.mean(dim=(2, 3), keepdim=True).abs()).clamp(min=0)


def offset_noise(noise: Tensor, offset: float | Tensor, rng: torch.Generator) -> Tensor:
    """Noise whose mean differs from channel to channel, so that overall brightness and color are learned too.

        noise_bchw + offset * s_bc,  s ~ N(0, 1)

    Source: sd-scripts `noise_offset`. Ours: s is drawn in float32 on the generator's device, so that a seed gives the
    same shift in every precision and on every device.

    Args:
        noise: (B, C, H, W) unit normal.
        offset: standard deviation of the shift, one number or (B, C, 1, 1); 0 leaves the noise as it is.
        rng: draws s, and is advanced by B * C draws even when offset is 0.
    Returns:
        (B, C, H, W) in the dtype and on the device of `noise`.
    Raises:
        ValueError: noise is not (B, C, H, W), or offset is not finite or of another shape.
    """
    _check_pictures("noise", noise)
    if isinstance(offset, Tensor):
        if offset.shape != (*noise.shape[:2], 1, 1):
            raise ValueError(f"offset must be (B, C, 1, 1), found {tuple(offset.shape)}")
        if not bool(offset.isfinite().all()):
            raise ValueError("offset must be finite")
    elif not math.isfinite(offset):
        raise ValueError(f"offset must be finite, found {offset}")
    shift = torch.randn((*noise.shape[:2], 1, 1), generator=rng, device=rng.device, dtype=torch.float32)
    wide, shift = in_working_precision(noise, shift.to(noise.device))
    return (wide + offset * shift).to(noise.dtype)


def multires_noise(noise: Tensor, iterations: int, discount: float, rng: torch.Generator) -> Tensor:
    """Noise with coarse parts, so that large areas of a picture are learned as well as its details.

        n = noise + sum_i discount^i up(e_i),  e_i ~ N(0, 1) of size floor(H / r_i^i) x floor(W / r_i^i), at least 1,
        r_i ~ U(2, 4);  the result is n / std(n), over the whole batch

    The sum ends early with the first e_i that is one position wide or high; up is bilinear.

    Source: sd-scripts `multires_noise_iterations`, after J. Whitaker, multi-resolution noise. Ours: r_i and e_i come
    from one generator, in float32 on its device.

    Args:
        noise: (B, C, H, W) unit normal.
        iterations: how many parts are added at most; > 0.
        discount: factor from one part to the next coarser one, 0..1.
        rng: draws r_i, then e_i, part by part.
    Returns:
        (B, C, H, W) of standard deviation 1 over all its values, in the dtype and on the device of `noise`.
    Raises:
        ValueError: noise is not (B, C, H, W) or has one value only, iterations is not > 0, or discount is outside 0..1.
    """
    _check_pictures("noise", noise)
    if noise.numel() < 2:
        raise ValueError("noise must have more than one value")
    if iterations < 1 or not 0 <= discount <= 1:
        raise ValueError(f"iterations must be > 0 and discount in 0..1, found {iterations} and {discount}")
    (total,) = in_working_precision(noise)
    size = (noise.shape[2], noise.shape[3])
    for i in range(iterations):
        ratio = (2 + 2 * torch.rand((), generator=rng, device=rng.device, dtype=torch.float32).item()) ** i
        coarse = (max(1, int(size[0] / ratio)), max(1, int(size[1] / ratio)))
        part = torch.randn((*noise.shape[:2], *coarse), generator=rng, device=rng.device, dtype=torch.float32)
        part = interpolate(part.to(noise.device, total.dtype), size=size, mode="bilinear", align_corners=False)
        total = total + discount**i * part
        if 1 in coarse:
            break
    return (total / total.std()).to(noise.dtype)


def perturbed_noise(noise: Tensor, gamma: float, rng: torch.Generator) -> Tensor:
    """The noise that is added to the latents where the target stays the unperturbed one.

        noise + gamma * e,  e ~ N(0, 1)

    Source: input perturbation, arXiv:2301.11706, algorithm 1; sd-scripts `ip_noise_gamma`. Ours: e is drawn in float32
    on the generator's device.

    Args:
        noise: (B, C, H, W) the noise that the denoiser shall predict.
        gamma: standard deviation of the perturbation; the paper uses 0.1.
        rng: draws e.
    Returns:
        (B, C, H, W) in the dtype and on the device of `noise`.
    Raises:
        ValueError: noise is not (B, C, H, W), or gamma is not finite.
    """
    _check_pictures("noise", noise)
    if not math.isfinite(gamma):
        raise ValueError(f"gamma must be finite, found {gamma}")
    extra = torch.randn(noise.shape, generator=rng, device=rng.device, dtype=torch.float32)
    wide, extra = in_working_precision(noise, extra.to(noise.device))
    return (wide + gamma * extra).to(noise.dtype)


def _check_pictures(name: str, tensor: Tensor) -> None:
    if tensor.ndim != 4:
        raise ValueError(f"{name} must be (B, C, H, W), found {tuple(tensor.shape)}")
