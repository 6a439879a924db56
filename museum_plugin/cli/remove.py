"""`remove`: take a style out of a museum."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import add_museum_path
from museum_plugin.cli.rewriting import add_output, rewritten, way_back
from museum_plugin.cli.text_lines import counted, printable
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.history import history
from museum_plugin.museum.ledger import Ledger, StyleRecord
from museum_plugin.museum.removal import without_style


def add_arguments(parser: ArgumentParser) -> None:
    """What `remove` takes."""
    add_museum_path(parser)
    parser.add_argument("style", metavar="STYLE", help="the name of the style")
    add_output(parser)


def run(given: Namespace) -> None:
    """Write the museum without the style; the one before goes to the history.

    Raises:
        MuseumFileError: the file cannot be read, is being taught, or has no such style.
        ConfigError: it is the only style.
        OutputError: the result cannot be written; nothing is changed.
    """
    path: Path = given.museum

    def change(content: MuseumContent) -> tuple[MuseumContent, Ledger]:
        return without_style(content, given.style), content.ledger

    target, content, before = rewritten(path, given.output, change)
    gone = before.style(given.style)
    lines = [removed_line(target, content.ledger, gone), *_what_is_left(path, before, gone), *way_back(path, target)]
    for line in lines:
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
