"""What the terms of a style are given before its first step: the bank, and what is measured on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import ReplayConfig
from museum_plugin.methods.bank import NEUTRAL, Anchor, Bank, BankPlan, fill_bank, with_features
from museum_plugin.methods.fisher import fisher_information
from museum_plugin.methods.method import FEATURES, FISHER, MOMENTS, NEW_PICTURES, REPLAY, Term
from museum_plugin.methods.moments import InputMoment, input_moments
from museum_plugin.methods.new_pictures import anchors_on_new_pictures
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache

_FEATURE_ANCHORS = 24
_WATCHED_BLOCKS = 3
_MOMENT_ANCHORS = 48
_FISHER_ANCHORS = 24
_FULL_GROUPS = 6
"""Groups of the bank that are measured with all these anchors; more of them share what six would have."""
DRAWS = frozenset({REPLAY, FISHER})
"""Needs for which the previous museum draws a bank."""


@dataclass(frozen=True)
class Material:
    """What the previous museum drew and showed."""

    bank: Bank | None
    """What every step predicts; None where no term asks for it, or nothing was to be drawn."""
    states: StateCache
    watched: tuple[str, ...]
    """Blocks of the U-Net whose outputs a term needs."""
    moments: dict[str, InputMoment]
    """By kohya key; empty unless a term needs them."""
    fisher: dict[str, Tensor] = field(default_factory=dict)
    """By parameter of the network; empty unless a term needs it."""


def bank_plan(
    replay: ReplayConfig,
    museum: Museum,
    captions: Sequence[str],
    pictures: Sequence[tuple[Tensor, str]],
    sampling: SamplingPlan,
    key: tuple[int, str],
) -> BankPlan:
    """What is drawn for the bank of a new style.

    Args:
        captions: of the new style, without trigger; those that the museum remembers of old styles are added.
        pictures: latents (C, h, w) of the new style, each with what it shows.
        sampling: size of the pictures and how prompts are read; steps and guidance are those of `replay`.
        key: (seed, style), which decides every seed of the bank.
    """
    old = [caption for record in museum.ledger.styles for caption in record.extra.get("captions", [])]
    return BankPlan(
        per_style=replay.latents_each(len(museum.styles())),
        neutral=replay.neutral,
        contents=tuple(dict.fromkeys([*captions, *old])),
        sampling=replace(sampling, steps=replay.sampling_steps, guidance=replay.guidance),
        seed=_seed(*key, "bank"),
        pictures=tuple(pictures),
        plain={record.name: record.settings.get("slot_dropout", 0.0) for record in museum.ledger.styles},
    )


def gather_material(
    museum: Museum, terms: Iterable[Term], plan: BankPlan, text: TextEncoding, progress: Callable[[int], object]
) -> Material:
    """Draw and measure what the terms need of the museum as it is now, before the new style changes it.

    Args:
        museum: attached.
        progress: called with the number of trajectories just drawn.
    """
    needs = frozenset[str]().union(*(term.needs for term in terms))
    states = StateCache(museum, text)
    bank = fill_bank(museum, plan, progress) if needs & DRAWS else None
    if bank is None or not bank.anchors:
        bank = None
    moments = input_moments(bank, museum, states, _each(_MOMENT_ANCHORS, bank)) if bank and MOMENTS in needs else {}
    fisher = (
        fisher_information(bank, museum, states, _each(_FISHER_ANCHORS, bank), plan.seed)
        if bank and FISHER in needs
        else {}
    )
    bank = bank if REPLAY in needs else None
    if NEW_PICTURES in needs:
        bank = _with_new_pictures(bank, anchors_on_new_pictures(museum, plan, states, _groups(bank)), museum.styles())
    watched = watched_blocks(Denoiser(museum.base)) if FEATURES in needs else ()
    if bank and watched:
        bank = with_features(bank, museum, states, watched, _each(_FEATURE_ANCHORS, bank))
    return Material(bank, states, watched, moments, fisher)


def watched_blocks(denoiser: Denoiser) -> tuple[str, ...]:
    """Blocks of the U-Net whose outputs are held, for terms that need them."""
    return denoiser.feature_blocks()[-_WATCHED_BLOCKS:]


def _groups(bank: Bank | None) -> int:
    return len(bank.groups) if bank else 1


def _with_new_pictures(bank: Bank | None, anchors: Sequence[Anchor], styles: Sequence[str]) -> Bank | None:
    """The bank with a further group for each old style."""
    if not anchors:
        return bank
    groups = [f"{style}, new pictures" for style in styles]
    return Bank([*(bank.groups if bank else (NEUTRAL,)), *groups], [*(bank.anchors if bank else ()), *anchors])


def _each(anchors: int, bank: Bank) -> int:
    """How many anchors of each group are measured: what is measured must not grow with the styles."""
    return max(1, anchors * _FULL_GROUPS // max(_FULL_GROUPS, len(bank.groups)))


def _seed(*key: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:5], "big")
