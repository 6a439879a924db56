"""`compact` with the base model: the nearest outputs on the museum's own pictures, measured on its predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.cli.before_after import score_lines
from museum_plugin.cli.compact import Compacted, smaller
from museum_plugin.cli.museum_base import base_to_draw_with
from museum_plugin.config.schema import GateConfig, ReplayConfig
from museum_plugin.errors import ConfigError
from museum_plugin.judge.retention import Verdict
from museum_plugin.losses.function_lock import lost_share
from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.methods.bank import Anchor
from museum_plugin.museum.compact import capped, least_ranks, spectra
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.latest_scores import with_latest_scores
from museum_plugin.museum.resize import with_ranks
from museum_plugin.train.rehearsal import Rehearsal, predictions, require_kept

_REPLAY = ReplayConfig(per_style=4, neutral=4)
_FED, _COMPARED = 0, 1
"""Seeds of two banks: one tells what modules are fed, predictions are compared on the other."""
_ANCHORS = 24
"""Of each group of a bank."""
_TRIES = 8
"""Predictions are compared so often, at most, until the least ranks are found."""
Ranks = Mapping[str, int]


@dataclass(frozen=True)
class Measured:
    """What a museum is and does, to compare smaller ones with."""

    rehearsal: Rehearsal
    before: Verdict | None
    """None where no style has a signature."""
    moments: dict[str, SecondMoment]
    """What the U-Net's modules are fed, by key."""
    energies: dict[str, Tensor]
    """Of each direction of each layer, relative to what the module itself gives."""
    anchors: tuple[Anchor, ...]
    teacher: Tensor
    """(N, C, h, w) what the museum predicts at the anchors."""
    bare: Tensor
    """(N, C, h, w) what its base predicts there."""

    @classmethod
    def of(cls, path: Path, content: MuseumContent, base: Path | None) -> Measured:
        """Of the museum of a file.

        Args:
            base: the base model that the user chose.
        Raises:
            BaseModelError: the base model cannot be found or loaded.
            ConfigError: the museum was never judged, or does nothing.
        """
        rehearsal = Rehearsal.of(path, base_to_draw_with(path, content.ledger, base), content.ledger)
        museum = rehearsal.museum(content)
        with museum.attached():
            before = rehearsal.verdict(museum)
            fed = rehearsal.moments(museum, rehearsal.bank(museum, _REPLAY, _FED), _ANCHORS)
            anchors = rehearsal.bank(museum, _REPLAY, _COMPARED).thinned(_ANCHORS)
            states = rehearsal.states(museum)
            teacher, bare = predictions(museum, anchors, states), predictions(museum, anchors, states, bare=True)
        if torch.equal(teacher, bare):
            raise ConfigError(f"{path}: this museum changes nothing of what its base predicts: nothing to compact")
        # A layer that is not measured is weighed by its weights: those of its change against the module's own.
        own = {key: float(module.weight.float().square().sum()) for key, module in museum.network.targets.items()}
        moments = {key: each.second_moment for key, each in fed.items()}
        energies = spectra(content, moments, own | {key: each.energy.item() for key, each in fed.items()})
        return cls(rehearsal, before, moments, energies, tuple(anchors), teacher, bare)

    def lost(self, after: MuseumContent) -> float:
        """The part that is lost of the museum's squared change of the base's predictions."""
        museum = self.rehearsal.museum(after)
        with museum.attached():
            return lost_share(predictions(museum, self.anchors, self.rehearsal.states(museum)), self.teacher, self.bare)

    def verdict(self, after: MuseumContent) -> Verdict | None:
        """The judge's verdict on a smaller museum."""
        museum = self.rehearsal.museum(after)
        with museum.attached():
            return self.rehearsal.verdict(museum, self.before)


def by_pictures(
    path: Path, content: MuseumContent, rank: int | None, loss: float | None, base: Path | None, gate: GateConfig
) -> tuple[MuseumContent, Compacted]:
    """Smaller ranks whose layers give the nearest outputs for what the museum's own pictures feed them.

    Args:
        rank: no layer keeps more; or
        loss: the least ranks that stay below it, see `Measured.lost`.
        base: the base model that the user chose.
    Raises:
        BaseModelError: the base model cannot be found or loaded.
        ConfigError: no layer would get smaller, the museum was never judged, or does nothing.
        GateError: a style is drawn too much worse.
    """
    if rank is not None:
        capped(content, rank)  # refused before a model is loaded
    measured = Measured.of(path, content, base)

    def lost_at(ranks: Ranks) -> float:
        return measured.lost(with_ranks(content, ranks, measured.moments)[0])

    if rank is not None:
        ranks: Ranks = capped(content, rank)
    else:
        allowed = loss or 0.0
        found = least_below(lambda share: least_ranks(measured.energies, share), lost_at, allowed)
        ranks = smaller(content, found, allowed)
    after, changes = with_ranks(content, ranks, measured.moments)
    lost, verdict = measured.lost(after), measured.verdict(after)
    if verdict is not None and measured.before is not None:
        after = replace(after, ledger=with_latest_scores(after.ledger, verdict.scores, "after compact"))
        require_kept(path, after, verdict, measured.before, gate, "so small a rank")
    what = "the square of what it changes of the base's predictions"
    return after, Compacted(changes, lost, what, score_lines(measured.before, verdict))


def least_below(ranks_at: Callable[[float], Ranks], lost: Callable[[Ranks], float], loss: float) -> Ranks:
    """The least ranks whose measured loss is at most `loss`, as far as eight measurements find them.

    Args:
        ranks_at: the ranks that are left when a share, 0..1, of the directions' energy may go; falling in it.
        lost: measures the loss at some ranks.
    """
    low, high, best, share = 0.0, 1.0, ranks_at(0.0), loss
    for _ in range(_TRIES):
        ranks = ranks_at(share)
        if lost(ranks) <= loss:
            low, best = share, ranks
            share = min(2 * share, (share + high) / 2)
        else:
            high = share
            share = (low + high) / 2
    return best
