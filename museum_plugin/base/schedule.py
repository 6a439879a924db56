"""The noise schedule of a base model, where a run asks for another than the base came with."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from museum_plugin.base.load import BaseModel


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """A schedule that ends in pure noise, so that very dark and very bright pictures can be drawn.

        sqrt(a'_t) = (sqrt(a_t) - sqrt(a_T)) sqrt(a_0) / (sqrt(a_0) - sqrt(a_T))

    Source: arXiv:2305.08891, algorithm 1; sd-scripts `zero_terminal_snr`.

    Args:
        alphas_cumprod: (T,) alpha_bar, falling, 0..1.
    Returns:
        (T,) in the same dtype: the same at the first t, 0 at the last; a schedule that ends in 0 stays as it is.
    Raises:
        ValueError: alphas_cumprod is not (T,) or does not fall from the first to the last t.
    """
    if alphas_cumprod.ndim != 1 or not alphas_cumprod[0] > alphas_cumprod[-1] >= 0:
        raise ValueError("alphas_cumprod must be (T,) and fall from the first to the last t")
    signal = alphas_cumprod.double().sqrt()
    first, last = signal[0], signal[-1]
    return ((signal - last) * first / (first - last)).square().to(alphas_cumprod.dtype)


def with_zero_terminal_snr(base: BaseModel) -> BaseModel:
    """The same networks under the rescaled schedule: training, the bank, previews and verdicts all follow it."""
    return replace(base, alphas_cumprod=zero_terminal_snr(base.alphas_cumprod))
