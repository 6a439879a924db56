"""What the LoRA's modules are fed by old prompts: the second moments of their inputs. Source: ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.methods.bank import Anchor, Bank, StateCache
from museum_plugin.museum.museum import Museum

_BATCH = 8
_WIDEST = 6000
"""Numbers in an input: a wider module's second moment would take too much memory, so no moment is kept of it."""


@dataclass(frozen=True)
class InputMoment:
    """The inputs of one module."""

    second_moment: Tensor
    """(in, in): E[x x^T]; a convolution's x is all its kernel sees, in the order of its flattened weight."""
    energy: float
    """E ||W x||^2 of the frozen module."""


@torch.no_grad()
def input_moments(bank: Bank, museum: Museum, states: StateCache, per_group: int) -> dict[str, InputMoment]:
    """Second moments over the bank's anchors, each group weighing alike, for the U-Net's modules by kohya key.

    The previous museum is the one that is attached now; the neutral group is seen through the bare base.

    Args:
        per_group: how many anchors of each group are used.
    """
    denoiser = Denoiser(museum.base)
    targets = {
        key: module
        for key, module in museum.network.targets.items()
        if key.startswith("lora_unet_") and module.weight[0].numel() <= _WIDEST
    }
    by_group: dict[int, list[Anchor]] = {}
    for anchor in bank.thinned(per_group):
        by_group.setdefault(anchor.group, []).append(anchor)
    total: dict[str, Tensor] = {}
    for group, anchors in by_group.items():
        with museum.disabled() if group == 0 else nullcontext(), _recording(targets) as seen:
            for at in range(0, len(anchors), _BATCH):
                _predict(denoiser, anchors[at : at + _BATCH], museum, states)
        for key, (moment, count) in seen.items():
            total[key] = total.get(key, torch.zeros_like(moment)) + moment / count / len(by_group)
    return {key: InputMoment(moment, _energy(targets[key], moment)) for key, moment in total.items()}


def _predict(denoiser: Denoiser, anchors: list[Anchor], museum: Museum, states: StateCache) -> None:
    device = museum.base.device
    noisy = torch.stack([anchor.noisy for anchor in anchors]).to(device)
    t = torch.tensor([anchor.t for anchor in anchors], device=device)
    denoiser.predict(
        noisy, t, states.states([anchor.prompt for anchor in anchors], [anchor.plain for anchor in anchors])
    )


@contextmanager
def _recording(targets: dict[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, int]]]:
    """Sum x x^T over everything that goes into the modules: key -> (sum, how many inputs)."""
    seen: dict[str, tuple[Tensor, int]] = {}

    def record(key: str, x: Tensor) -> None:
        rows = _rows(targets[key], x).float()
        moment, count = seen.get(key, (torch.zeros(rows.shape[1], rows.shape[1], device=rows.device), 0))
        seen[key] = (moment + rows.T @ rows, count + len(rows))

    handles = [
        module.register_forward_pre_hook(lambda _module, inputs, key=key: record(key, inputs[0]))
        for key, module in targets.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _rows(module: nn.Module, x: Tensor) -> Tensor:
    """(N, in): everything that a module's flattened weight is multiplied with for an input x."""
    if not isinstance(module, nn.Conv2d):
        return x.reshape(-1, x.shape[-1])
    if module.kernel_size == (1, 1):
        return x.movedim(1, -1).reshape(-1, x.shape[1])
    patches = F.unfold(x, module.kernel_size, padding=cast(tuple[int, int], module.padding), stride=module.stride)
    return patches.movedim(1, -1).reshape(-1, patches.shape[1])


def _energy(module: nn.Module, moment: Tensor) -> float:
    weight = module.weight.detach().float().flatten(1)
    return max(((weight @ moment) * weight).sum().item(), 1e-12)
