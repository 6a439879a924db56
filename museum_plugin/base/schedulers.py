"""sd-scripts' samplers by name, on the noise schedule of a base model. For previews; verdicts use `sampler` alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from museum_plugin.base.light_import import import_diffusers
from museum_plugin.base.load import BaseModel

_SMALLEST_SIGNAL = 2.0**-24
"""Share of signal variance below which noise levels count as infinite; some bases end at none at all."""
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmsolver": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmsingle": ("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
}
Predict = Callable[[Tensor, Tensor], Tensor]
"""(noisy (B, C, h, w), t (B,)) -> the guided prediction."""


def run_scheduler(
    name: str, base: BaseModel, steps: int, seeds: Sequence[int], shape: Sequence[int], predict: Predict
) -> Tensor:
    """Draw with one of sd-scripts' samplers; "k_" before a name means nothing.

    Args:
        seeds: one for each picture; they also decide the noise of ancestral samplers.
        shape: (C, h, w).
    Returns:
        (B, C, h, w) scaled latents, float32, on the base's device.
    Raises:
        ValueError: no sampler of this name.
    """
    with warnings.catch_warnings():  # of diffusers about its own use of numpy
        warnings.simplefilter("ignore")
        scheduler = _scheduler(name.removeprefix("k_"), base)
        scheduler.set_timesteps(steps, device=base.device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators]).to(base.device)
    x = x * scheduler.init_noise_sigma
    more = {"generator": generators} if name.endswith("_a") else {}
    for t in scheduler.timesteps:
        pred = predict(scheduler.scale_model_input(x, t), t.expand(len(seeds)))
        x = scheduler.step(pred, t, x, **more).prev_sample
    return x.float()


def _scheduler(name: str, base: BaseModel) -> Any:
    if name not in _KINDS and name != "lms":
        raise ValueError(f"no sampler {name!r}; there are lms, {', '.join(_KINDS)}")
    kind, arguments = _KINDS.get(name, _KINDS["euler"])
    import_diffusers()
    import diffusers

    level = base.alphas_cumprod.double().cpu().clamp(min=_SMALLEST_SIGNAL)
    betas = 1 - level / torch.cat([torch.ones(1, dtype=torch.float64), level[:-1]])
    scheduler = getattr(diffusers, kind)(
        num_train_timesteps=len(betas), trained_betas=betas.numpy(), prediction_type=base.prediction_type, **arguments
    )
    return LinearMultistep(scheduler) if name == "lms" else scheduler


class LinearMultistep:
    """Linear multistep sampling of order 4, on the timesteps and noise levels of an Euler scheduler.

    Source: k-diffusion's `sample_lms`.
    """

    ORDER = 4

    def __init__(self, euler: Any) -> None:
        """`euler`: a diffusers EulerDiscreteScheduler."""
        self._euler = euler
        self._slopes: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._euler, name)

    def step(self, pred: Tensor, t: Tensor, x: Tensor) -> _Stepped:
        """One step along the ODE dx/dsigma = (x - x0) / sigma, through the last four slopes."""
        index = int((self._euler.timesteps == t).nonzero()[0])
        sigmas = self._euler.sigmas
        euler = self._euler.step(pred, t, x).prev_sample
        self._slopes = [*self._slopes, (euler - x) / (sigmas[index + 1] - sigmas[index])][-self.ORDER :]
        weights = multistep_weights(sigmas.double().cpu().numpy(), index, len(self._slopes))
        change = sum(weight * slope for weight, slope in zip(weights, reversed(self._slopes), strict=True))
        return _Stepped(x + change)


class _Stepped:
    def __init__(self, sample: Tensor) -> None:
        self.prev_sample = sample


def multistep_weights(sigmas: np.ndarray, index: int, order: int) -> list[float]:
    """The integral from sigma_i to sigma_(i+1) of the Lagrange polynomial of each of the last `order` points.

    Args:
        sigmas: noise levels, falling.
    Returns:
        weights of the slopes at i, i-1, ...; Gauss-Legendre quadrature, exact for these polynomials.
    """
    nodes, masses = np.polynomial.legendre.leggauss(order)
    start, end = sigmas[index], sigmas[index + 1]
    at = start + (nodes + 1) / 2 * (end - start)
    points = sigmas[index - np.arange(order)]
    weights = []
    for j, point in enumerate(points):
        others = np.delete(points, j)
        polynomial = np.prod([(at - other) / (point - other) for other in others], axis=0) * np.ones_like(at)
        weights.append(float((masses * polynomial).sum() * (end - start) / 2))
    return weights
