"""`museum`, the default: the student is held to what the previous museum predicts, and to what its layers answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from museum_plugin.losses.denoising import min_snr_weight
from museum_plugin.losses.function_lock import balanced_mean, function_lock_loss
from museum_plugin.losses.weight_regularization import LowRank, SecondMoment, feature_lock_penalty
from museum_plugin.methods.bank import of_kind
from museum_plugin.methods.method import MOMENTS, REPLAY, Reads, Step, StyleStart, Term
from museum_plugin.museum.museum import Museum

WEIGHTS = {"function_lock": 3.0, "feature_lock": 3.0}
_AT_ONCE = 32
"""Modules in a stack, at most."""
_GAMMA = 5.0
"""Of min-SNR (arXiv:2303.09556)."""


class FeatureLock(Term):
    """Every module's output keeps its value for what old prompts feed it, in expectation. Source: ours.

    A closed form: no pass of its own. Modules of one shape are worked on as one stack: a U-Net has hundreds of them.
    """

    name = "feature_lock"
    reads = Reads.LORA
    needs = frozenset({REPLAY, MOMENTS})

    def begin_style(self, start: StyleStart) -> None:
        alike: dict[object, list[str]] = {}
        layers = start.museum.network.layers
        for key, moment in start.moments.items():
            own = layers[key].low_rank()
            shape = (own.up.shape, own.down.shape, own.scale, moment.second_moment.factor.shape)
            alike.setdefault(shape, []).append(key)
        self._stacks = [keys[at : at + _AT_ONCE] for keys in alike.values() for at in range(0, len(keys), _AT_ONCE)]
        self._previous = [low_ranks(start.museum, keys).detach() for keys in self._stacks]
        found = [[start.moments[key] for key in keys] for keys in self._stacks]
        self._energies = [torch.stack([moment.energy for moment in part]) for part in found]
        self._moments = [stacked([moment.second_moment for moment in part]) for part in found]

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        if not self._stacks:  # an empty bank was asked for
            return None
        numbers = range(len(self._stacks))
        if step.memory_is_short:  # what SDXL's 722 modules are worked out with is a gigabyte
            parts = [
                checkpoint(self._changes, museum, number, use_reentrant=False, preserve_rng_state=False)
                for number in numbers
            ]
        else:
            parts = [self._changes(museum, number) for number in numbers]
        return torch.stack(parts).sum() / sum(map(len, self._stacks))

    def _changes(self, museum: Museum, number: int) -> Tensor:
        """The sum over the modules of one stack."""
        keys, previous = self._stacks[number], self._previous[number]
        moments, energies = self._moments[number], self._energies[number]
        return len(keys) * feature_lock_penalty([low_ranks(museum, keys)], [previous], [moments], [energies])


def low_ranks(museum: Museum, keys: Sequence[str]) -> LowRank:
    """The updates of modules of one shape, rank and scale, as a stack."""
    found = [museum.network.layers[key].low_rank() for key in keys]
    return LowRank(torch.stack([f.up for f in found]), torch.stack([f.down for f in found]), found[0].scale)


def stacked(moments: Sequence[SecondMoment]) -> SecondMoment:
    """The second moments of modules of one width, as a stack."""
    return SecondMoment(torch.stack([m.factor for m in moments]), torch.stack([m.rest for m in moments]))


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
        groups = [step.replay.groups[i] for i in drawn]
        return locked(
            step.replay_pred[drawn],
            step.replay.teacher_pred[drawn],
            step.replay_alpha_bar[drawn],
            step.prediction_type,
            groups,
        )


def locked(
    pred: Tensor, teacher_pred: Tensor, alpha_bar: Tensor, prediction_type: str, groups: Sequence[int]
) -> Tensor:
    """The function lock of some anchors: min-SNR times the error of each, each style weighing alike; a scalar.

    Args:
        pred, teacher_pred: (R, C, h, w).
        alpha_bar: (R,), of the noise levels.
        groups: the style of each anchor.
    """
    return balanced_mean(lock_errors(pred, teacher_pred, alpha_bar, prediction_type), groups)


def lock_errors(pred: Tensor, teacher_pred: Tensor, alpha_bar: Tensor, prediction_type: str) -> Tensor:
    """min(SNR, 5) / SNR mean (eps - eps')^2 of each anchor. Source: ours.

    At high noise a small error of the prediction is a large one of the picture.

    Args:
        pred, teacher_pred: (R, C, h, w).
        alpha_bar: (R,), of the noise levels.
    Returns:
        (R,) >= 0
    """
    return function_lock_loss(pred, teacher_pred) * min_snr_weight(alpha_bar, _GAMMA, prediction_type)
