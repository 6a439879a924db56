"""What the LoRA's modules are fed by old prompts: the second moments of their inputs. Source: ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.methods.bank import Anchor, Bank
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache

_BATCH = 8
_WIDEST = 6000
"""Numbers in an input: what a wider module is fed (a convolution of many channels) is not kept."""
_ROWS = 768
"""Inputs of a module that are looked at, of all groups together."""
DIRECTIONS = 64
"""Of a module's inputs that are kept."""


@dataclass(frozen=True)
class InputMoment:
    """The inputs of one module."""

    second_moment: SecondMoment
    """Of an input x (in,); a convolution's x is all its kernel sees, in the order of its flattened weight."""
    energy: Tensor
    """() E ||W x||^2 of the frozen module, > 0."""

    def __post_init__(self) -> None:
        if not (self.energy.isfinite() & (self.energy > 0)).all():
            raise ValueError(f"the energy of a module must be finite and greater than 0, found {self.energy}")


@torch.no_grad()
def input_moments(bank: Bank, museum: Museum, states: StateCache, per_group: int) -> dict[str, InputMoment]:
    """Second moments over the bank's anchors, each group weighing alike, for the U-Net's modules by kohya key.

    The previous museum is the one that is attached now; the neutral group is seen through the bare base. Of each
    module at most 768 inputs are looked at, from all anchors alike, and 64 directions kept.

    Args:
        per_group: how many anchors of each group are used.
    """
    denoiser = Denoiser(museum.base)
    targets = measured_modules(museum)
    by_group: dict[int, list[Anchor]] = {}
    for anchor in bank.thinned(per_group):
        by_group.setdefault(anchor.group, []).append(anchor)
    places = torch.Generator().manual_seed(0)
    found: dict[str, list[Tensor]] = {}
    for group, anchors in by_group.items():
        each = -(-_ROWS // (len(by_group) * len(anchors)))
        with museum.disabled() if group == 0 else nullcontext(), _recording(targets, each, places) as seen:
            for at in range(0, len(anchors), _BATCH):
                _predict(denoiser, anchors[at : at + _BATCH], museum, states)
        for key, parts in seen.items():
            rows = torch.cat(parts)
            found.setdefault(key, []).append(rows / math.sqrt(len(rows) * len(by_group)))
    device = museum.base.device
    return {key: _moment(targets[key], torch.cat(parts).to(device)) for key, parts in found.items()}


def measured_modules(museum: Museum) -> dict[str, nn.Module]:
    """The modules of the U-Net whose inputs are measured, by kohya key."""
    return {
        key: module
        for key, module in museum.network.targets.items()
        if key.startswith("lora_unet_") and module.weight[0].numel() <= _WIDEST
    }


def _moment(module: nn.Module, rows: Tensor) -> InputMoment:
    moment, weight = main_directions(rows, DIRECTIONS), cast(Tensor, module.weight).detach().float().flatten(1)
    kept = replace(moment, factor=moment.factor.to(rows.dtype))  # no finer than the inputs were
    return InputMoment(kept, moment.energy(weight).clamp(min=1e-12))


def main_directions(rows: Tensor, count: int) -> SecondMoment:
    """The second moment X^T X of rows X (n, in) by its `count` largest directions, the rest spread evenly.

    Exact along those directions, and of the right trace. Source: ours.
    """
    rows = rows.float()
    width = rows.shape[1]
    if len(rows) < width:  # the eigenvectors of the smaller of X X^T and X^T X give both
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        values, vectors = values[-count:].clamp(min=0), vectors[:, -count:]
        directions = F.normalize(rows.T @ vectors, dim=0)
    else:
        values, directions = torch.linalg.eigh(rows.T @ rows)
        values, directions = values[-count:].clamp(min=0), directions[:, -count:]
    left = width - len(values)
    rest = ((rows.square().sum() - values.sum()) / max(1, left)).clamp(min=0) * (left > 0)
    return SecondMoment(directions * (values - rest).clamp(min=0).sqrt(), rest)


def _predict(denoiser: Denoiser, anchors: list[Anchor], museum: Museum, states: StateCache) -> None:
    device = museum.base.device
    noisy = torch.stack([anchor.noisy for anchor in anchors]).to(device)
    t = torch.tensor([anchor.t for anchor in anchors], device=device)
    denoiser.predict(
        noisy, t, states.states([anchor.prompt for anchor in anchors], [anchor.plain for anchor in anchors])
    )


@contextmanager
def _recording(
    targets: Mapping[str, nn.Module], each: int, places: torch.Generator
) -> Iterator[dict[str, list[Tensor]]]:
    """While inside, inputs of the modules are kept: key -> parts (n, in), in main memory.

    Args:
        each: how many of every picture or prompt of a batch; fewer where there are not as many.
        places: says which.
    """
    seen: dict[str, list[Tensor]] = {}

    def record(key: str, x: Tensor) -> None:
        rows = _rows(targets[key], x)
        chosen = torch.randperm(rows.shape[1], generator=places)[:each]
        seen.setdefault(key, []).append(rows[:, chosen.to(rows.device)].flatten(0, 1).cpu())

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
    """(B, n, in): everything that a module's flattened weight is multiplied with for an input x of B."""
    if not isinstance(module, nn.Conv2d):
        return x.reshape(len(x), -1, x.shape[-1])
    if module.kernel_size == (1, 1):
        return x.flatten(2).movedim(1, -1)
    padding = cast(tuple[int, int], module.padding)
    return F.unfold(x, module.kernel_size, padding=padding, stride=module.stride).movedim(1, -1)
