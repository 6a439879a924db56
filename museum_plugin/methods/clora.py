"""`clora`: C-LoRA (Smith et al., arXiv:2304.06027), self-regularization of the shared LoRA. A baseline."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.self_regularization import self_regularization_penalty
from museum_plugin.losses.weight_regularization import LowRank
from museum_plugin.methods.method import Reads, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"self_regularization": 30.0}


class SelfRegularization(Term):
    """What a style adds keeps away from weights that old styles have changed.

    Ours: the paper gives each style factors of its own and sums them up; here all share one pair, so the sum of the old
    ones is the LoRA as the previous museum left it, and the new one is what has been added since. All modules count,
    where the paper has LoRA on keys and values of cross-attention alone.
    """

    name = "self_regularization"
    reads = Reads.LORA

    def begin_style(self, start: StyleStart) -> None:
        self._previous = [LowRank(w.up.clone(), w.down.clone(), w.scale) for w in _updates(start.museum, detach=True)]
        self._has_old = bool(start.museum.styles())

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if not self._has_old:
            return None
        return self_regularization_penalty(_updates(museum), self._previous)


def _updates(museum: Museum, *, detach: bool = False) -> list[LowRank]:
    found = [layer.low_rank() for layer in museum.network.layers.values()]
    return [update.detach() for update in found] if detach else found
