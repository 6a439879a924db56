"""Stands for a card whose copies take time."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from museum_plugin.base.carrier import Load


class Card:
    """A card whose copies are not there before they arrive, and which counts what lies on it."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, ...]] = []
        """Of each load, which tensors it brought."""
        self.bytes = 0
        self.most = 0
        self.lost = 0
        """Loads that were let go of while they were still on their way."""

    def keep(self, tensor: Tensor) -> Tensor:
        return tensor

    def send(self, kept: Sequence[Tensor]) -> Load:
        places = tuple(torch.zeros_like(tensor) for tensor in kept)
        self.sent.append(tuple(id(tensor) for tensor in kept))
        size, state = sum(tensor.nbytes for tensor in kept), {"arrived": False}
        self.bytes += size
        self.most = max(self.most, self.bytes)

        def gone() -> None:
            self.bytes -= size
            self.lost += not state["arrived"]

        weakref.finalize(places[-1], gone)

        def arrive() -> None:
            state["arrived"] = True
            for place, tensor in zip(places, kept, strict=True):
                place.copy_(tensor)

        return Load(places, arrive)
