"""`olora`: O-LoRA (Wang et al., arXiv:2310.14152), every style in a rank block of its own. A baseline."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from museum_plugin.losses.orthogonality import orthogonality_penalty
from museum_plugin.methods.method import Reads, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"orthogonality": 1.0}


class Orthogonality(Term):
    """Each style is learned in a rank block of its own, whose input directions stay clear of the old blocks'.

    Ours: all blocks lie in one pair of factors, so that the file stays one LoRA that every client loads; its rank grows
    by `network_dim` a style. Old blocks are frozen, as in the paper.
    """

    name = "orthogonality"
    reads = Reads.LORA
    grows = True

    def begin_style(self, start: StyleStart) -> None:
        self._old: dict[nn.Parameter, Tensor] = {}
        self._downs: list[tuple[nn.Parameter, Tensor]] = []
        layers = start.museum.network.layers.values() if start.block else ()
        for layer in (layer for layer in layers if layer.down.requires_grad):
            up, down = layer.up.detach(), layer.down.detach()
            self._old[layer.up] = up[:, : -start.block].clone()
            self._old[layer.down] = down[: -start.block].clone()
            self._downs.append((layer.down, self._old[layer.down]))

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if not self._downs:
            return None
        return orthogonality_penalty([old for _, old in self._downs], [down[len(old) :] for down, old in self._downs])

    def after_backward(self, museum: Museum) -> None:
        for parameter, old in self._old.items():
            if parameter.grad is not None:
                _old_part(parameter.grad, old).zero_()

    @torch.no_grad()
    def after_step(self, museum: Museum) -> None:
        """Weight decay moves numbers that have no gradient."""
        for parameter, old in self._old.items():
            _old_part(parameter, old).copy_(old)

    def end_style(self, museum: Museum) -> None:
        self.after_step(museum)  # an average of numbers may stand there now


def _old_part(whole: Tensor, old: Tensor) -> Tensor:
    return whole[: old.shape[0], : old.shape[1]]
