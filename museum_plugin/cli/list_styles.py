"""`list`: the styles of a museum, one line each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import add_museum_path
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.cli.text_lines import counted, file_size, printable, table
from museum_plugin.judge.matrix import kept_share, percent
from museum_plugin.museum.latest_scores import scores_now
from museum_plugin.museum.ledger import Ledger

_HEADING = ("#", "style", "trigger", "taught (UTC)", "steps", "pictures", "score now", "when learned", "kept")
_NUMBERS = (0, 4, 5, 6, 7, 8)


def add_arguments(parser: ArgumentParser) -> None:
    """What `list` takes."""
    add_museum_path(parser)


def run(given: Namespace) -> None:
    """Print a line about the museum and a line for each style.

    Raises:
        MuseumFileError: the file cannot be read.
    """
    ledger = ledger_of(given.museum)
    print(summary_line(given.museum, ledger))
    for line in style_table(ledger):
        print(line)


def summary_line(path: Path, ledger: Ledger) -> str:
    """File, base, shape and size in one line."""
    base, network = ledger.base, ledger.network
    return printable(
        f"{path}: {counted(len(ledger.styles), 'style')}, base {base.name} ({base.family}, {base.prediction_type}), "
        f"rank {network.rank}, alpha {network.alpha:g}, {file_size(path.stat().st_size)}"
    )


def style_table(ledger: Ledger) -> list[str]:
    """A heading and a line for each style; nothing where there is none."""
    if not ledger.styles:
        return []
    _, matrix = ledger.retention_matrix()
    rows = []
    latest = scores_now(ledger)
    for i, record in enumerate(ledger.styles):
        now, learned = latest.get(record.name), matrix[i][i]
        is_new = i == len(ledger.styles) - 1 and now == learned
        kept = "new" if is_new else kept_text(now, learned)
        numbers = (str(record.steps), str(record.pictures), score(now), score(learned), kept)
        rows.append((str(i + 1), record.name, record.trigger, minute(record.taught_at), *numbers))
    return table([_HEADING, *rows], right=_NUMBERS)


def score(value: float | None) -> str:
    """A score for reading; "-" where none was recorded."""
    return "-" if value is None else f"{value:.2f}"


def kept_text(now: float | None, learned: float | None) -> str:
    """What a style keeps, for reading; "-" where a score is missing."""
    return "-" if now is None or learned is None else percent(kept_share(now, learned))


def minute(time: str) -> str:
    """An ISO 8601 time without seconds and zone."""
    return time[:16].replace("T", " ")
