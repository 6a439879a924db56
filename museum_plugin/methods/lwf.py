"""`lwf`: learning without forgetting (Li and Hoiem, arXiv:1606.09282). A baseline."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.function_lock import balanced_mean, function_lock_loss
from museum_plugin.methods.bank import of_kind
from museum_plugin.methods.method import NEW_PICTURES, Step, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"old_predictions": 3.0}


class OldPredictions(Term):
    """On the new style's pictures under old triggers, predictions stay those of the previous museum.

    Ours: the previous museum's predictions are computed once, at some noise levels of each picture, where the paper
    records one answer of each old task's head for each picture. Prompts without a trigger are no old task.
    """

    name = "old_predictions"
    needs = frozenset({NEW_PICTURES})

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if step.replay is None or step.replay_pred is None:  # no old style
            return None
        own = of_kind(step.replay, new_pictures=True)
        if not own:
            return None
        loss = function_lock_loss(step.replay_pred[own], step.replay.teacher_pred[own])
        return balanced_mean(loss, [step.replay.groups[i] for i in own])
