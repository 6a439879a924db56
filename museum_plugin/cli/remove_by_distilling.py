"""`remove --distill`: a short training after which the shared LoRA does not hold the style any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from museum_plugin.cli.before_after import score_lines
from museum_plugin.cli.museum_base import base_to_draw_with
from museum_plugin.config.schema import GateConfig, ReplayConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.removal import DISTILLED, ledger_without, without_style
from museum_plugin.museum.store import content_of
from museum_plugin.train.rehearsal import Rehearsal, require_kept
from museum_plugin.train.unlearning import UnlearningPlan, unlearn, unlearning_bank

_REPLAY = ReplayConfig(per_style=12, neutral=12)


@dataclass(frozen=True)
class Distillation:
    """What was asked for."""

    steps: int
    learning_rate: float | None
    """None: that of the newest style."""
    seed: int
    base: Path | None
    """The base model that the user chose."""
    gate: GateConfig


def distilled_without(
    path: Path, content: MuseumContent, style: str, asked: Distillation
) -> tuple[MuseumContent, list[str]]:
    """The museum whose LoRA draws for a style's words what the base draws, and the others as before.

    Returns:
        the museum without the style, and the scores before and after as lines.
    Raises:
        MuseumFileError: no such style, or the base is another one.
        BaseModelError: the base model cannot be found or loaded.
        ConfigError: it is the only style, the museum was never judged, or no learning rate is known.
        TrainingError: the training diverged.
        GateError: another style is drawn too much worse.
    """
    ledger_without(content.ledger, style)  # refused before a model is loaded
    rate = asked.learning_rate or recorded_rate(content.ledger)
    base = base_to_draw_with(path, content.ledger, asked.base)
    if base.unet.dtype == torch.float16:  # gradients would vanish
        base = base.to(base.device, torch.float32)
    rehearsal = Rehearsal.of(path, base, content.ledger)
    museum = rehearsal.museum(content)
    plan = UnlearningPlan(style, asked.steps, rate, seed=asked.seed)
    with museum.attached():
        before = rehearsal.verdict(museum)
        states = rehearsal.states(museum)
        drawn = rehearsal.bank(museum, _REPLAY, asked.seed)
        bank = unlearning_bank(museum, drawn, states, style, rehearsal.contents(museum))
        with tqdm(total=plan.steps, desc=f"taking {style} out", leave=False, disable=None) as bar:
            unlearn(museum, bank, states, plan, lambda _: bar.update())
        after = rehearsal.verdict(museum, before)
    scores = {name: score for name, score in after.scores.items() if name != style} if after else None
    content = content_of(museum)
    ledger = ledger_without(content.ledger, style, how=DISTILLED, scores=scores)
    content = replace(without_style(content, style), ledger=ledger)
    if before is not None and after is not None:
        require_kept(path, content, after, before, asked.gate, f"taking {style} out")
    return content, score_lines(before, after)


def recorded_rate(ledger: Ledger) -> float:
    """The U-Net's learning rate of the newest style that was taught.

    Raises:
        ConfigError: none is recorded.
    """
    for record in reversed(ledger.styles):
        for name in ("unet_lr", "learning_rate"):
            rate = record.settings.get(name)
            if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0:
                return float(rate)
    raise ConfigError("--learning_rate: the museum does not record one; give it")
