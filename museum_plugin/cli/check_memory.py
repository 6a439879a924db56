"""What `check` says of a card's memory: a forecast part by part, whether it fits, and which switches to flip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from museum_plugin.base.folder import BaseOutline, empty_networks
from museum_plugin.config.schema import RunConfig
from museum_plugin.museum.ledger import Ledger
from museum_plugin.train.blocks_to_swap import with_blocks_swapped
from museum_plugin.train.forecast import DESKTOP, GIB, Forecaster, subject_of
from museum_plugin.train.memory_ladder import rungs
from museum_plugin.train.plan import PlannedStyle

_NAMES = {
    "unet": "U-Net", "text": "text encoders", "vae": "VAE", "trained": "LoRA and slot", "optimizer": "optimizer",
    "kept": "what holds old styles",
}  # fmt: skip


@dataclass(frozen=True)
class Flip:
    """A switch that would be flipped, and what is forecast with it and all before it."""

    flag: str
    keeps_result: bool
    gib: float


@dataclass(frozen=True)
class MemoryReport:
    """A forecast in GiB; nothing of it was measured."""

    total: float
    """At the peak of the run."""
    training: float
    """At the peak of a step."""
    before: float
    """At the peak of encoding pictures and drawing."""
    parts: dict[str, float]
    """What is held all the time."""
    step: float
    """Activations and gradients at their peak."""
    more_than_plain: float | None
    """Over plain fine-tuning; None for a plain LoRA."""
    card: str | None
    """Its name, or the size that was asked about; None: there is none."""
    room: float | None
    """Of the card, for this run."""
    fits: bool | None
    switches: tuple[Flip, ...]
    """To flip in this order until it fits."""


def memory_of(
    run: RunConfig, base: BaseOutline, plans: Sequence[PlannedStyle], ledger: Ledger | None, vram: float | None
) -> MemoryReport | None:
    """The forecast of a run; None where there is nothing to teach.

    Args:
        plans: of the styles that will be taught.
        vram: GiB of a card; None: the one that is there, if any.
    Raises:
        ConfigError: network_args do not fit the base.
    """
    subject = subject_of(run, plans, ledger)
    if subject is None:
        return None
    forecaster = Forecaster(base, empty_networks(base), subject)
    name, card = _card(vram)
    run = with_blocks_swapped(run, forecaster, card)
    found = forecaster.forecast(run)
    plain = replace(run, method=replace(run.method, name="finetune", weights={}))
    extra = found.total - forecaster.forecast(plain).total if subject.words else None
    flips = () if card is None else tuple(
        Flip(rung.flag, rung.keeps_result, _gib(rung.forecast.total)) for rung in rungs(forecaster, run, card)
    )  # fmt: skip
    parts = {title: _gib(getattr(found, part)) for part, title in _NAMES.items() if getattr(found, part)}
    return MemoryReport(
        total=_gib(found.total),
        training=_gib(found.training),
        before=_gib(found.between),
        parts={**parts, "outside torch": _gib(found.training - found.held - found.step)},
        step=_gib(found.step),
        more_than_plain=None if extra is None else _gib(extra),
        card=name,
        room=None if card is None else _gib(card - DESKTOP),
        fits=None if card is None else found.fits(card),
        switches=flips,
    )


def memory_lines(report: MemoryReport) -> list[tuple[str, str]]:
    """Title and text of each line."""
    parts = {**report.parts, "activations and gradients": report.step}
    extra = report.more_than_plain
    lines = [
        ("a step", f"{report.training:.2f} GiB: " + ", ".join(f"{name} {gib:.2f}" for name, gib in parts.items())),
        ("before it", f"{report.before:.2f} GiB while pictures are encoded and drawn"),
    ]
    if extra is not None:
        lines.append(("of that", f"{extra:.2f} GiB more than plain fine-tuning, to hold what was learned before"))
    if report.card is None:
        return [*lines, ("card", "none here; --vram 8 asks about one of 8 GiB")]
    verdict = "fits" if report.fits else "does not fit"
    lines.append(("card", f"{report.card}: {report.room:.2f} GiB for this run, which {verdict}"))
    for number, flip in enumerate(report.switches, start=1):
        same = "same result" if flip.keeps_result else "changes the result"
        lines.append((f"switch {number}", f"{flip.flag}: then {flip.gib:.2f} GiB; {same}"))
    if not report.fits and (not report.switches or report.switches[-1].gib > (report.room or 0)):
        lines.append(("", "even so it does not fit: a smaller resolution or network_dim is left"))
    return lines


def _card(vram: float | None) -> tuple[str | None, int | None]:
    """Name and bytes: of the card asked about, else of the one that is there as far as nobody else uses it."""
    if vram is not None:
        return f"{vram:g} GiB", int(vram * GIB)
    if not torch.cuda.is_available():
        return None, None
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name()}, {free / GIB:.1f} of {total / GIB:.1f} GiB free", free


def _gib(count: int) -> float:
    return round(count / GIB, 2)
