"""`museum`, the default: the student is held to the previous museum's own predictions."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.function_lock import balanced_mean, function_lock_loss
from museum_plugin.methods.method import REPLAY, Step, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"function_lock": 3.0}


class FunctionLock(Term):
    """Noise predictions on the bank stay those of the previous museum, each style weighing alike. Source: ours."""

    name = "function_lock"
    needs = frozenset({REPLAY})

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        assert step.replay is not None
        assert step.replay_pred is not None
        return balanced_mean(function_lock_loss(step.replay_pred, step.replay.teacher_pred), step.replay.groups)
