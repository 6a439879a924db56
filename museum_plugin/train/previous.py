"""What the terms of a style are given of the museum as it was before: drawn and measured, then held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import ReplayConfig, RunConfig
from museum_plugin.methods.material import DRAWS, Material, bank_plan, gather_material
from museum_plugin.methods.method import StyleStart, Term
from museum_plugin.museum.museum import Museum
from museum_plugin.train.exhibition import is_unmeasured, measured, with_exhibition


@dataclass(frozen=True)
class Shown:
    """What is known of a style before its first step."""

    name: str
    captions: tuple[str, ...]
    """What its pictures show, without trigger."""
    pictures: tuple[tuple[Tensor, str], ...]
    """Latents (C, h, w), each with what it shows."""


def draw_material(
    run: RunConfig,
    museum: Museum,
    shown: Shown,
    plan: SamplingPlan,
    terms: dict[str, tuple[Term, float]],
    *,
    visible: bool,
) -> Material:
    """What the terms need of the museum before a style changes it; styles that were never measured are.

    Args:
        museum: attached.
        visible: show how far the drawing is.
    """
    every = [term for term, _ in terms.values()]
    draws = any(DRAWS & term.needs for term in every)
    with _drawing(museum, run.replay, shown.name, visible=visible and draws) as progress:
        key = (run.training.seed, shown.name)
        bank = bank_plan(run.replay, museum, shown.captions, shown.pictures, plan, key)
        material = gather_material(museum, every, bank, TextEncoding.of(run.base), progress)
    if any(is_unmeasured(record) for record in museum.ledger.styles):
        museum.ledger = measured(museum, with_exhibition(museum.ledger, run, shown.captions, plan))
    return material


@contextmanager
def _drawing(museum: Museum, replay: ReplayConfig, name: str, *, visible: bool) -> Iterator[Callable[[int], object]]:
    """A progress bar for the bank of a style.

    Yields:
        what is called with the number of trajectories just drawn.
    """
    total = replay.neutral + replay.latents_each(len(museum.styles())) * len(museum.styles())
    with tqdm(total=total, desc=f"{name}: the previous museum draws", leave=False, disable=not visible) as bar:
        yield bar.update


def style_start(museum: Museum, material: Material, latents: tuple[Tensor, ...], block: int = 0) -> StyleStart:
    """What terms are told when a style begins.

    Args:
        latents: of the style's pictures.
        block: rows that were opened for it.
    """
    means = style_means(latents, museum.base.device)
    return StyleStart(museum, material.bank, material.moments, means, material.fisher, block)


def style_means(latents: tuple[Tensor, ...], device: torch.device) -> dict[tuple[int, int], Tensor]:
    """Mean latent (C, h, w) for each latent size (h, w)."""
    by_size: dict[tuple[int, int], list[Tensor]] = {}
    for latent in latents:
        by_size.setdefault((latent.shape[1], latent.shape[2]), []).append(latent)
    return {size: torch.stack(group).mean(dim=0).to(device) for size, group in by_size.items()}
