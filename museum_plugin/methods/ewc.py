"""`ewc`: elastic weight consolidation (Kirkpatrick et al., arXiv:1612.00796) on the shared LoRA. A baseline."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.elastic_weights import elastic_penalty
from museum_plugin.methods.method import FISHER, Reads, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"elastic_weights": 30.0}


class ElasticWeights(Term):
    """Numbers of the LoRA that old styles depend on stay where they are.

    Ours: the Fisher information is not carried from style to style but measured anew when a style begins, on what the
    previous museum draws of each old style. So no file has to hold it, a resumed run finds the same, and it is that of
    all old styles at the numbers that are held, where the online form adds up those of numbers long left.
    """

    name = "elastic_weights"
    reads = Reads.LORA
    needs = frozenset({FISHER})

    def begin_style(self, start: StyleStart) -> None:
        parameters = dict(start.museum.network.named_parameters())
        self._fisher = start.fisher
        self._previous = {name: parameters[name].detach().clone() for name in start.fisher}

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if not self._fisher:
            return None
        parameters = dict(museum.network.named_parameters())
        now = [parameters[name] for name in self._fisher]
        return elastic_penalty(now, list(self._previous.values()), list(self._fisher.values()))
