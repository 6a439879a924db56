"""The bank: states and predictions of the previous museum, drawn once a style, that the student is held to.

No picture of an old style is stored anywhere: the previous museum itself draws them, and every step of its sampler
leaves one noisy latent with its two predictions (with the prompt and with the empty prompt). So the teacher costs no
pass of its own: neither in the loop nor here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from random import Random

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.sampler import SamplingPlan, drawn_at_once, sample_latents
from museum_plugin.data.captions import with_trigger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache

NEUTRAL = "no trigger"
"""The group of prompts without any trigger; its teacher is the bare base."""


@dataclass(frozen=True)
class Anchor:
    """One noisy latent of a sampling trajectory, with what the teacher predicts there."""

    group: int
    prompt: str
    """"" for the empty prompt, which classifier-free guidance uses."""
    noisy: Tensor
    """(C, h, w)"""
    t: int
    pred: Tensor
    """(C, h, w), float16, as there are thousands; the latent is not, since at little noise its rounding would tell."""
    plain: bool = False
    """Whether the prompt was read without slots."""
    features: tuple[Tensor, ...] = ()
    """The teacher's block outputs, where a term needs them."""
    new_picture: bool = False
    """Whether it is a picture of the new style, under the trigger of an old one."""


@dataclass(frozen=True)
class ReplayBatch:
    """Anchors of one step."""

    noisy: Tensor
    """(R, C, h, w)"""
    t: Tensor
    """(R,)"""
    prompts: tuple[str, ...]
    teacher_pred: Tensor
    """(R, C, h, w), float32"""
    teacher_features: tuple[Tensor, ...]
    """(R, ...) for each watched block."""
    groups: tuple[int, ...]
    """Index of each anchor's style in `Bank.groups`."""
    plain: tuple[bool, ...] = ()
    """Which prompts are read without slots; empty: none."""
    new_pictures: tuple[bool, ...] = ()
    """Which anchors are pictures of the new style; empty: none."""


def of_kind(batch: ReplayBatch, *, new_pictures: bool) -> list[int]:
    """The anchors that are pictures of the new style, or those that the previous museum drew: their places."""
    marks = batch.new_pictures or (False,) * len(batch.groups)
    return [i for i, mark in enumerate(marks) if mark is new_pictures]


class Bank:
    """All anchors of the previous museum, by group: one for prompts without trigger, one for each old style."""

    def __init__(self, groups: Sequence[str], anchors: Sequence[Anchor], *, empty_share: float = 0.25) -> None:
        """Hold anchors.

        Args:
            empty_share: how often an anchor with the empty prompt is drawn, 0..1.
        """
        self.groups = tuple(groups)
        self._empty_share = empty_share
        self._prompted: list[list[Anchor]] = [[] for _ in groups]
        self._empty: list[list[Anchor]] = [[] for _ in groups]
        for anchor in sorted(anchors, key=lambda anchor: anchor.t):
            (self._prompted if anchor.prompt else self._empty)[anchor.group].append(anchor)

    @property
    def anchors(self) -> list[Anchor]:
        """All anchors, group by group, each by rising t."""
        return [anchor for lists in (self._prompted, self._empty) for group in lists for anchor in group]

    def thinned(self, per_group: int) -> list[Anchor]:
        """At most `per_group` anchors with prompt and a third as many without, of each group, over all noise levels."""
        kept: list[Anchor] = []
        for lists, count in ((self._prompted, per_group), (self._empty, max(1, per_group // 3))):
            for group in lists:
                stride = max(1, len(group) // count)
                kept += group[stride // 2 :: stride][:count]
        return kept

    def batch(self, size: int, rng: Random, device: torch.device) -> ReplayBatch:
        """Draw anchors, going round the groups so that each is seen equally often.

        Noise levels are stratified: each anchor of a batch comes from another part of the trajectory. A group without
        anchors is left out; prompts that are empty themselves leave a group nothing but anchors with the empty prompt.

        Raises:
            ValueError: there is no anchor at all.
        """
        drawn = [group for group in zip(self._prompted, self._empty, strict=True) if any(group)]
        if not drawn:
            raise ValueError("a bank without anchors has no batch")
        first = rng.randrange(len(drawn))
        parts = list(range(size))
        rng.shuffle(parts)
        picked = []
        for i, part in enumerate(parts):
            prompted, empty = drawn[(first + i) % len(drawn)]
            group = (empty or prompted) if rng.random() < self._empty_share else (prompted or empty)
            place = (part + rng.random()) / size
            picked.append(group[min(int(place * len(group)), len(group) - 1)])
        return ReplayBatch(
            noisy=torch.stack([a.noisy for a in picked]).to(device),
            t=torch.tensor([a.t for a in picked], device=device),
            prompts=tuple(a.prompt for a in picked),
            teacher_pred=torch.stack([a.pred for a in picked]).to(device).float(),
            teacher_features=tuple(
                torch.stack(block).to(device) for block in zip(*(a.features for a in picked), strict=True)
            ),
            groups=tuple(a.group for a in picked),
            plain=tuple(a.plain for a in picked),
            new_pictures=tuple(a.new_picture for a in picked),
        )


@dataclass(frozen=True)
class BankPlan:
    """How much is drawn for a bank, and with what."""

    per_style: int
    """Trajectories for each old style."""
    neutral: int
    """Trajectories without trigger."""
    contents: tuple[str, ...]
    """Prompts without trigger; taken in turn."""
    sampling: SamplingPlan
    seed: int
    batch_size: int = 8
    plain: Mapping[str, float] = field(default_factory=dict)
    """By style: the share of its trajectories that are drawn with its plain words, without its slot."""
    pictures: tuple[tuple[Tensor, str], ...] = ()
    """Latents (C, h, w) of the new style's pictures, each with what it shows."""


@torch.no_grad()
def fill_bank(museum: Museum, plan: BankPlan, progress: Callable[[int], object] = lambda done: None) -> Bank:
    """Draw the bank of a museum as it is now. Source: ours.

    Args:
        progress: called with the number of trajectories just drawn.
    """
    groups = [NEUTRAL, *museum.styles()]
    anchors: list[Anchor] = []
    for index, group in enumerate(groups):
        count = plan.neutral if index == 0 else plan.per_style
        contents = [plan.contents[i % len(plan.contents)] for i in range(count)]
        seeds = [plan.seed + 7919 * index + i for i in range(count)]
        plain = int(plan.plain.get(group, 0.0) * count + 0.5)
        for part in _parts(plain, count, drawn_at_once(museum.base, plan.sampling, plan.batch_size)):
            is_plain = part.stop <= plain
            if index == 0:
                with museum.disabled():
                    anchors += _trajectories(museum, index, contents[part], seeds[part], plan.sampling)
            else:
                prompts = [with_trigger(content, museum.phrase(group)) for content in contents[part]]
                with museum.slots.disabled() if is_plain else nullcontext():
                    drawn = _trajectories(museum, index, prompts, seeds[part], plan.sampling)
                anchors += [replace(anchor, plain=is_plain) for anchor in drawn]
            progress(len(contents[part]))
    return Bank(groups, anchors)


def _parts(first: int, count: int, size: int) -> list[slice]:
    """0 .. count in slices of at most `size`, none of which holds both sides of `first`."""
    return [
        slice(at, min(at + size, end)) for start, end in ((0, first), (first, count)) for at in range(start, end, size)
    ]


def _trajectories(
    museum: Museum, group: int, prompts: Sequence[str], seeds: Sequence[int], plan: SamplingPlan
) -> list[Anchor]:
    anchors: list[Anchor] = []

    def keep(noisy: Tensor, t: Tensor, conditional: Tensor, empty: Tensor) -> None:
        rows = zip(prompts, noisy.cpu(), t.tolist(), conditional.half().cpu(), empty.half().cpu(), strict=True)
        for prompt, x, time, pred, pred_empty in rows:
            anchors.append(Anchor(group, prompt, x, time, pred))
            anchors.append(Anchor(group, "", x, time, pred_empty))

    sample_latents(museum.base, prompts, seeds, plan, keep)
    return anchors


@torch.no_grad()
def with_features(bank: Bank, museum: Museum, states: StateCache, blocks: tuple[str, ...], per_group: int) -> Bank:
    """A smaller bank whose anchors carry the block outputs of the teacher; all of them would not fit a card.

    The neutral group is seen through the bare base, as when it was drawn.
    """
    denoiser = Denoiser(museum.base)
    device = museum.base.device
    full: list[Anchor] = []
    for anchor in bank.thinned(per_group):
        with museum.disabled() if anchor.group == 0 else nullcontext(), denoiser.watch(blocks) as features:
            t = torch.tensor([anchor.t], device=device)
            denoiser.predict(anchor.noisy[None].to(device), t, states.states([anchor.prompt], [anchor.plain]))
        full.append(replace(anchor, features=tuple(feature[0].float().cpu() for feature in features)))
    return Bank(bank.groups, full)
