"""What a LoRA layer leaves out in a training step: neurons, ranks, or itself. Source: sd-scripts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dropout:
    """How much every layer leaves out, each a share, 0 or more and below 1."""

    neuron: float = 0.0
    """Of the numbers between down and up."""
    rank: float = 0.0
    """Of the ranks, for each sample."""
    module: float = 0.0
    """Of the steps in which the layer works at all."""

    @property
    def is_on(self) -> bool:
        """Whether anything is left out."""
        return max(self.neuron, self.rank, self.module) > 0


class LayerDropout:
    """What one layer leaves out in one step: the same whenever it is asked.

    Forward passes of one step that a layer sees one after another, such as those of two picture sizes, share it.
    """

    def __init__(self, dropout: Dropout, key: str) -> None:
        """Draw from nothing but the key, which names step and layer."""
        self._dropout = dropout
        self._number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")

    @property
    def skips_module(self) -> bool:
        """Whether the whole layer is left out."""
        draw = torch.rand(1, generator=torch.Generator().manual_seed(self._number ^ 1)).item()
        return draw < self._dropout.module

    def __call__(self, inner: Tensor) -> Tensor:
        """inner * keep / (1 - share), for neurons and then for ranks.

        Args:
            inner: (B, ..., r) of a Linear or (B, r, h, w) of a convolution: what `down` gives.
        """
        rng = torch.Generator(inner.device).manual_seed(self._number)
        neuron, rank = self._dropout.neuron, self._dropout.rank
        if neuron:
            inner = inner * _kept(tuple(inner.shape), neuron, rng).to(inner.dtype)
        if rank:
            place = 1 if inner.dim() == 4 else inner.dim() - 1
            shape = tuple(size if i in (0, place) else 1 for i, size in enumerate(inner.shape))
            inner = inner * _kept(shape, rank, rng).to(inner.dtype)
        return inner


def _kept(shape: tuple[int, ...], share: float, rng: torch.Generator) -> Tensor:
    """1 / (1 - share) where a number stays, 0 where it is left out; on average 1."""
    return (torch.rand(shape, generator=rng, device=rng.device) >= share) / (1 - share)
