"""`remove`: take a style out of a museum."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from museum_plugin.cli.before_after import add_gate, gate_of
from museum_plugin.cli.parser import BASE_FLAG, add_base_folder, add_museum_path, number_from, whole_number
from museum_plugin.cli.rewriting import add_output, rewritten, way_back
from museum_plugin.cli.text_lines import counted, printable
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.history import history
from museum_plugin.museum.ledger import Ledger, StyleRecord
from museum_plugin.museum.removal import without_style

_STEPS = 200


def add_arguments(parser: ArgumentParser) -> None:
    """What `remove` takes."""
    add_museum_path(parser)
    add = parser.add_argument
    add("style", metavar="STYLE", help="the name of the style")
    add("--distill", action="store_true", help="train the shared LoRA until it does not hold the style any more")
    add("--steps", type=whole_number(1), metavar="N", help=f"of --distill (default: {_STEPS})")
    told = "of --distill (default: that of the newest style)"
    add("--learning_rate", type=_above_zero, metavar="X", help=told)
    add("--seed", type=whole_number(0), metavar="N", help="of --distill (default: 0)")
    add_base_folder(parser)
    add_gate(parser)
    add_output(parser)


def _above_zero(text: str) -> float:
    number = number_from(0)(text)
    if number == 0:
        raise ArgumentTypeError(f"found {text!r}, allowed: a number above 0")
    return number


def run(given: Namespace) -> None:
    """Write the museum without the style; the one before goes to the history.

    Raises:
        MuseumFileError: the file cannot be read, is being taught, or has no such style.
        ConfigError: it is the only style, or a flag needs --distill.
        BaseModelError, TrainingError, GateError: of --distill; nothing is changed.
        OutputError: the result cannot be written; nothing is changed.
    """
    path: Path = given.museum
    for flag in ("steps", "learning_rate", "seed", BASE_FLAG):
        if getattr(given, flag) is not None and not given.distill:
            raise ConfigError(f"--{flag}: only with --distill; without it nothing is trained")

    def change(content: MuseumContent) -> tuple[MuseumContent, tuple[Ledger, list[str]]]:
        if not given.distill:
            return without_style(content, given.style), (content.ledger, [])
        from museum_plugin.cli.remove_by_distilling import Distillation, distilled_without

        asked = Distillation(
            given.steps or _STEPS, given.learning_rate, given.seed or 0, getattr(given, BASE_FLAG), gate_of(given)
        )
        after, scores = distilled_without(path, content, given.style, asked)
        return after, (content.ledger, scores)

    target, content, (before, scores) = rewritten(path, given.output, change)
    gone = before.style(given.style)
    left = scores or _what_is_left(path, before, gone)
    for line in [removed_line(target, content.ledger, gone), *left, *way_back(path, target)]:
        print(printable(line))


def removed_line(target: Path, after: Ledger, gone: StyleRecord) -> str:
    """What was done, in a line."""
    words = " ".join(gone.reserved_words)
    return (
        f"{target}: {gone.name} is removed, {counted(len(after.styles), 'style')} left; its trigger {words} is retired"
    )


def _what_is_left(path: Path, before: Ledger, gone: StyleRecord) -> list[str]:
    """What of the style the shared LoRA still holds, and how to be rid of that."""
    lines = ["the shared LoRA is unchanged: the other styles draw as before, bit for bit"]
    if not gone.words:
        lines.append(f"{gone.name} came with another LoRA and has no slot: its trigger still draws it")
    elif gone.settings.get("slot_dropout"):
        lines.append(f"{gone.name} was taught with slot_dropout: its plain word still draws it")
    if before.styles[-1] is gone:
        numbers = [v.number for v in history(path) if v.last_style == before.styles[-2].name]
        if numbers:
            told = f"python -m museum_plugin rollback {path} --to {numbers[-1]}"
            lines.append(f"{gone.name} was the newest: the version before it holds nothing of it at all: {told}")
    return lines
