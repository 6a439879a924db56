"""`museum`, the default: the student is held to the previous museum's own predictions."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.function_lock import balanced_mean, function_lock_loss
from museum_plugin.losses.weight_regularization import LowRank, feature_lock_penalty
from museum_plugin.methods.method import MOMENTS, REPLAY, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"function_lock": 3.0}


class FeatureLock(Term):
    """Every module's output keeps its value for what old prompts feed it, in expectation. Source: ours.

    A closed form: no pass of its own, and no sample that could be over-fitted.
    """

    name = "feature_lock"
    needs = frozenset({REPLAY, MOMENTS})

    def begin_style(self, start: StyleStart) -> None:
        self._keys = tuple(start.moments)
        self._moments = [start.moments[key].second_moment for key in self._keys]
        self._energies = [start.moments[key].energy for key in self._keys]
        self._previous = self._low_ranks(start.museum)
        self._previous = [LowRank(w.up.detach().clone(), w.down.detach().clone(), w.scale) for w in self._previous]

    def penalty(self, museum: Museum, step: Step) -> Tensor:
        return feature_lock_penalty(self._low_ranks(museum), self._previous, self._moments, self._energies)

    def _low_ranks(self, museum: Museum) -> list[LowRank]:
        return [museum.network.layers[key].low_rank() for key in self._keys]


class FunctionLock(Term):
    """Noise predictions on the bank stay those of the previous museum, each style weighing alike. Source: ours."""

    name = "function_lock"
    needs = frozenset({REPLAY})

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        assert step.replay is not None
        assert step.replay_pred is not None
        return balanced_mean(function_lock_loss(step.replay_pred, step.replay.teacher_pred), step.replay.groups)
