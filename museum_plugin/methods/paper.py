"""`paper`: our reading of MuseumMaker (arXiv:2404.16612): style distillation and dual regularisation."""

from __future__ import annotations

from torch import Tensor

from museum_plugin.losses.feature_regularization import feature_change_loss
from museum_plugin.losses.function_lock import balanced_mean
from museum_plugin.losses.style_distillation import style_distillation_loss, style_distillation_weight
from museum_plugin.losses.weight_regularization import LowRank, weight_cosine_penalty
from museum_plugin.methods.bank import of_kind
from museum_plugin.methods.method import FEATURES, REPLAY, Reads, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"style_distillation": 0.1, "weight_regularization": 1.0, "feature_regularization": 1.0}


class StyleDistillation(Term):
    """The predicted clean latent is drawn to the mean latent of the style. Source: L_SDL; the factor is ours."""

    name = "style_distillation"
    temperature = 2.0

    def begin_style(self, start: StyleStart) -> None:
        self._means = start.style_means

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        mean = self._means.get((step.pred_x0.shape[2], step.pred_x0.shape[3]))
        if mean is None:  # a bucket of regularisation pictures alone
            return None
        loss = style_distillation_loss(step.pred_x0, mean, temperature=self.temperature)
        return (loss * style_distillation_weight(step.alpha_bar)).mean()


class WeightRegularization(Term):
    """The shared LoRA keeps the direction it had. Source: the paper's weight part, by cosine similarity."""

    name = "weight_regularization"
    reads = Reads.LORA

    def begin_style(self, start: StyleStart) -> None:
        self._previous: list[LowRank] | None = None
        if start.museum.styles():
            layers = start.museum.network.layers.values()
            self._previous = [
                LowRank(up=w.up.detach().clone(), down=w.down.detach().clone(), scale=w.scale)
                for w in (layer.low_rank() for layer in layers)
            ]

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if self._previous is None:
            return None
        return weight_cosine_penalty([layer.low_rank() for layer in museum.network.layers.values()], self._previous)


class FeatureRegularization(Term):
    """The blocks' outputs on the bank's states stay those of the previous museum. Source: the paper's feature part."""

    name = "feature_regularization"
    needs = frozenset({REPLAY, FEATURES})

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if step.replay is None:  # an empty bank was asked for
            return None
        drawn = of_kind(step.replay, new_pictures=False)
        if not drawn:
            return None
        now, before = ([block[drawn] for block in blocks] for blocks in (step.features, step.replay.teacher_features))
        return balanced_mean(feature_change_loss(now, before), [step.replay.groups[i] for i in drawn])
