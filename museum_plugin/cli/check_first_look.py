"""What `check --forecast` finds out with the base model loaded: how long a style takes, what it costs the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.cli.text_lines import counted
from museum_plugin.config.schema import GateConfig, RunConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.judge.matrix import percent
from museum_plugin.methods.bank import NEUTRAL
from museum_plugin.train.blocks_to_swap import with_blocks_counted
from museum_plugin.train.no_room import told_when_full
from museum_plugin.train.overlap import overlap_of, rates_of_lora
from museum_plugin.train.pace import seconds_a_step
from museum_plugin.train.plan import PlannedStyle
from museum_plugin.train.retention_forecast import Expected, expected_of
from museum_plugin.train.setup import Classroom, Lesson, begin_style, latent_cache
from museum_plugin.train.start import make_accelerator, museum_on_base

_SAFE = 0.9
"""Below this share of what a style did, other ways to teach are named."""


@dataclass(frozen=True)
class FirstLook:
    """Of the first style that would be taught; nothing was trained."""

    style: str
    steps: int
    """That are left to do."""
    seconds_a_step: float
    seconds_before: float | None
    """To read its pictures, and to draw and measure what holds old styles; None where nothing is drawn but for this
    look."""
    overlap: dict[str, float]
    """Old style -> what a small step towards the new style changes of what it does; see `Overlap.at_stake`."""
    expected: Expected | None
    """What old styles keep; None: there is none, or it cannot be told."""
    why_not: str
    """Why it cannot be told; "" where it can."""

    @property
    def time(self) -> str:
        """How long the style takes."""
        pace = f"{counted(self.steps, 'step')} of {self.seconds_a_step:.2f} s"
        steps, before = self.steps * self.seconds_a_step, self.seconds_before
        if before is None:
            return f"about {spoken(steps)} for {self.style}: {pace}; pictures, verdict and previews come on top"
        return (
            f"about {spoken(before + steps)} for {self.style}: {pace}, and {spoken(before)} before them; verdict, "
            "previews and validation come on top"
        )


def first_look(run: RunConfig, plans: Sequence[PlannedStyle]) -> FirstLook | None:
    """Load base and museum, and look at the first of the styles; None where there is none.

    Args:
        plans: of the styles that will be taught.
    Raises:
        MuseumError: base or museum cannot be used, memory runs out, or a number is not finite.
    """
    if not plans:
        return None
    style, dataset = plans[0].style, plans[0].dataset
    with (
        told_when_full("while the first steps were looked at"),
        _classroom(reading_only(run, plans[0]), dataset) as room,
    ):
        begun = time.perf_counter()
        lesson = begin_style(room, style, dataset)
        before = time.perf_counter() - begun
        why_not = nothing_to_tell(room, lesson)
        overlap = None if why_not else overlap_of(room, lesson)
        expected, why_not = (None, why_not) if overlap is None else expected_of(room, lesson, overlap)
        return FirstLook(
            style=lesson.title,
            steps=lesson.calendar.steps - int(lesson.unfinished.get("step", 0)),
            seconds_a_step=seconds_a_step(room, lesson),
            seconds_before=before if any(term.needs for term, _ in lesson.training.terms.values()) else None,
            overlap={}
            if overlap is None
            else {name: overlap.at_stake(name) for name in overlap.moved if name != NEUTRAL},
            expected=expected,
            why_not=why_not,
        )


def nothing_to_tell(room: Classroom, lesson: Lesson) -> str:
    """Why there is no overlap to measure; "" where there is."""
    if not room.museum.styles():
        return "there is no older style"
    if lesson.kept_bank is None or not any(anchor.group for anchor in lesson.kept_bank.anchors):
        return "nothing is drawn of the older styles: replay_per_style is 0"
    if not rates_of_lora(room, lesson):
        return "every older style keeps all: no part of the LoRA is trained"
    if any(term.grows for term, _ in lesson.training.terms.values()):
        return f"what --method {room.run.method.name} keeps was not measured"
    return ""


def first_look_lines(look: FirstLook) -> list[tuple[str, str]]:
    """Title and text of each line."""
    overlaps = {name: f"overlap {share:.1%}" for name, share in look.overlap.items()}
    if look.expected is None:
        return [*overlaps.items(), ("not told", look.why_not)]
    keeps = look.expected.keeps.items()
    lines = [(name, f"is expected to keep {percent(share)}; {overlaps[name]}") for name, share in keeps]
    if look.expected.least >= _SAFE:
        return lines
    ways = look.expected.ways.items()
    lines += [
        ("or", f"{way}: every older style is then expected to keep {percent(share)} at least") for way, share in ways
    ]
    return [*lines, ("or", "a second museum (another --museum): nothing of this one changes")]


def reading_only(run: RunConfig, plan: PlannedStyle) -> RunConfig:
    """The run of one style, with a bank whatever its method, and without logs."""
    output = replace(run.output, log_with=None, logging_dir=None)
    return replace(run, styles=(plan.style,), gate=GateConfig(extra_steps=1), output=output)


@contextmanager
def _classroom(run: RunConfig, dataset: StyleDataset) -> Iterator[Classroom]:
    """Base and museum, attached, without the museum's lock: nothing will be written."""
    with ExitStack() as held:
        accelerator = make_accelerator(run)
        held.callback(accelerator.end_training)
        run = with_blocks_counted(run, [dataset], accelerator.device)
        museum = museum_on_base(run, accelerator.device, held)
        held.enter_context(museum.attached())
        yield Classroom(run, accelerator, museum, Denoiser(museum.base), latent_cache(run, museum, read_only=True))


def spoken(seconds: float) -> str:
    """12 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
