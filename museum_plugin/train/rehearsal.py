"""A whole museum on its base, to see what a change of it costs: a bank, its predictions, its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import BaseModel
from museum_plugin.config.schema import GateConfig, ReplayConfig
from museum_plugin.errors import ConfigError, GateError
from museum_plugin.judge.as_learned import as_learned
from museum_plugin.judge.gate import objections
from museum_plugin.judge.retention import BASE, Exhibition, Verdict, judge, prompt_for
from museum_plugin.judge.signature import signatures_of
from museum_plugin.methods.bank import Anchor, Bank, BankPlan, fill_bank
from museum_plugin.methods.material import bank_plan
from museum_plugin.methods.moments import InputMoment, input_moments
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import museum_of
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.train.exhibition import exhibition_of
from museum_plugin.train.museum_file import MuseumFile

_BATCH = 8


@dataclass(frozen=True)
class Rehearsal:
    """One museum on its base, before and after."""

    path: Path
    base: BaseModel
    exhibition: Exhibition

    @classmethod
    def of(cls, path: Path, base: BaseModel, ledger: Ledger) -> Rehearsal:
        """For the museum of a file.

        Raises:
            ConfigError: it was never judged, so it is not known how it draws.
        """
        if "exhibition" not in ledger.extra:
            raise ConfigError(
                f"{path}: this museum was never judged, so its pictures cannot be compared; teach it first"
            )
        return cls(path, base, exhibition_of(ledger))

    def museum(self, content: MuseumContent) -> Museum:
        """A museum with this content; attach it to see what it does.

        Raises:
            MuseumFileError: it belongs to another base.
        """
        return museum_of(content, self.base, self.path)

    def verdict(
        self, museum: Museum, before: Verdict | None = None, styles: Sequence[str] | None = None
    ) -> Verdict | None:
        """The judge's verdict on an attached museum; None where no style has a signature.

        Args:
            before: an earlier verdict, which saves drawing with the bare base again.
        """
        signatures = signatures_of(museum.ledger.styles)
        if not signatures:
            return None
        known, bare = as_learned(museum.ledger.styles), before.latents[BASE] if before else None
        return judge(museum, self.exhibition, signatures, learned=known, base_latents=bare)

    def bank(self, museum: Museum, replay: ReplayConfig, seed: int) -> Bank:
        """Drawn by an attached museum with its `contents`."""
        return fill_bank(museum, self._plan(museum, replay, seed))

    def contents(self, museum: Museum) -> tuple[str, ...]:
        """Prompts without trigger: the captions that the museum remembers, or else what it is judged on."""
        return self._plan(museum, ReplayConfig(), 0).contents

    def _plan(self, museum: Museum, replay: ReplayConfig, seed: int) -> BankPlan:
        judged = tuple(prompt_for(prompt, "") for prompt in self.exhibition.prompts)
        remembered = any(record.extra.get("captions") for record in museum.ledger.styles)
        return bank_plan(replay, museum, () if remembered else judged, (), self.exhibition.plan, (seed, "rehearsal"))

    def states(self, museum: Museum) -> StateCache:
        """Text states of the bank's prompts for a museum."""
        return StateCache(museum, self.exhibition.plan.text)

    def moments(self, museum: Museum, bank: Bank, per_group: int) -> dict[str, InputMoment]:
        """What the modules of an attached museum are fed."""
        return input_moments(bank, museum, self.states(museum), per_group)


@torch.no_grad()
def predictions(
    museum: Museum, anchors: Sequence[Anchor], states: StateCache, *, bare: bool = False, at_once: int = _BATCH
) -> Tensor:
    """(N, C, h, w) on the CPU: what an attached museum predicts where the bank's pictures went.

    Args:
        bare: what its base predicts there instead, with the base's own words.
        at_once: how many anchors go through the U-Net together.
    """
    denoiser, device, found = Denoiser(museum.base), museum.base.device, []
    with museum.disabled() if bare else nullcontext():
        for at in range(0, len(anchors), at_once):
            part = anchors[at : at + at_once]
            noisy = torch.stack([anchor.noisy for anchor in part]).to(device)
            t = torch.tensor([anchor.t for anchor in part], device=device)
            text = states.states([anchor.prompt for anchor in part], [anchor.plain for anchor in part])
            found.append(denoiser.predict(noisy, t, text).cpu())
    return torch.cat(found)


def require_kept(
    path: Path, content: MuseumContent, verdict: Verdict, before: Verdict, gate: GateConfig, change: str
) -> None:
    """Refuse a change of a museum after which its styles are drawn worse than the gate allows.

    Args:
        path: the museum; what is refused is kept beside it.
        verdict: on the museum after the change.
        before: on the one before: every style that stays is held to what it scored there, and, where the museum
            remembers it, to what it did when it was learned. For what was worse already nothing is refused.
        change: what was done, for the message.
    Raises:
        GateError: a style lost too much, or prompts without a trigger moved.
    """
    stay = {record.name for record in content.ledger.styles}
    scores = {name: score for name, score in before.scores.items() if name in stay}
    allowed = replace(
        gate,
        effect=min(gate.effect, *before.effect_kept.values(), 1.0),
        pictures=max(gate.pictures, *before.pictures_moved.values(), 0.0),
        drift=max(gate.drift, before.drift),
        neutral=max(gate.neutral, before.neutral_moved),
    )
    against = objections(verdict, scores, allowed) if gate.mode == "on" else []
    if against:
        beside = MuseumFile(path).save_beside(content)
        raise GateError(
            f"{path} was not replaced: {change} costs too much: {'; '.join(against)}. The result is {beside}; use that "
            "file if you like what it draws, or give --gate off"
        )
