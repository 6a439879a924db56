"""`museum`, the default: the student is held to the previous museum's own predictions."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.denoising import min_snr_weight
from museum_plugin.losses.function_lock import balanced_mean, function_lock_loss
from museum_plugin.losses.weight_regularization import LowRank, feature_lock_penalty
from museum_plugin.methods.bank import of_kind
from museum_plugin.methods.method import MOMENTS, REPLAY, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"function_lock": 3.0}
_GAMMA = 5.0
"""Of min-SNR (arXiv:2303.09556)."""


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

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if not self._keys:  # an empty bank was asked for
            return None
        return feature_lock_penalty(self._low_ranks(museum), self._previous, self._moments, self._energies)

    def _low_ranks(self, museum: Museum) -> list[LowRank]:
        return [museum.network.layers[key].low_rank() for key in self._keys]


class FunctionLock(Term):
    """Noise predictions on the bank stay those of the previous museum, each style weighing alike. Source: ours.

    Errors are weighted by min-SNR: at high noise a small error of the prediction is a large one of the picture, and it
    decides early which style is drawn.
    """

    name = "function_lock"
    needs = frozenset({REPLAY})

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if step.replay is None or step.replay_pred is None or step.replay_alpha_bar is None:  # an empty bank
            return None
        drawn = of_kind(step.replay, new_pictures=False)
        if not drawn:
            return None
        loss = function_lock_loss(step.replay_pred[drawn], step.replay.teacher_pred[drawn])
        weight = min_snr_weight(step.replay_alpha_bar[drawn], _GAMMA, step.prediction_type)
        return balanced_mean(loss * weight, [step.replay.groups[i] for i in drawn])
