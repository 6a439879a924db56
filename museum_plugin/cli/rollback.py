"""`rollback`: bring an earlier version of a museum back."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import add_museum_path, whole_number
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.cli.text_lines import counted, file_size, printable, table
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.history import history, history_folder, rollback


def add_arguments(parser: ArgumentParser) -> None:
    """What `rollback` takes."""
    add_museum_path(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--to",
        metavar="N",
        type=whole_number(1),
        help="number of the version (default: the newest whole one that differs from the file)",
    )
    which.add_argument("--list", action="store_true", help="only list the versions that are kept")


def run(given: Namespace) -> None:
    """List the versions, or bring one back and say how to undo it.

    Raises:
        MuseumFileError: there is no such version, or it is damaged.
        OutputError: the file cannot be written; it is unchanged.
    """
    path: Path = given.museum
    if given.list:
        print_versions(path)
        return
    before = _described(path)
    chosen = rollback(path, given.to)
    print(f"{path} is version {chosen.number} again: {_content(chosen.style_count, chosen.last_style)}")
    if before is None:
        print("there was no file before")
        return
    kept = history(path)[-1]
    print(printable(f"replaced: {before}; it is kept as version {kept.number}"))
    if kept.style_count is not None:
        print(f"undo: python -m museum_plugin rollback {_quoted(path)} --to {kept.number}")


def print_versions(path: Path) -> None:
    """The kept versions and the file itself.

    Raises:
        MuseumFileError: there are neither versions nor a file.
    """
    lines = version_table(path)
    if not lines:
        ledger_of(path)
        print(f"no earlier version is kept; looked in {history_folder(path)}")
        return
    for line in lines:
        print(line)
    print(printable(f"now: {_described(path) or 'no file'}"))


def version_table(path: Path) -> list[str]:
    """A heading and a line for each kept version, oldest first; nothing where none is kept."""
    rows = [
        (
            str(version.number),
            f"{version.time:%Y-%m-%d %H:%M}",
            "damaged" if version.style_count is None else str(version.style_count),
            version.last_style or "-",
            file_size(version.path.stat().st_size),
        )
        for version in history(path)
    ]
    return table([("version", "written (UTC)", "styles", "newest style", "size"), *rows], right=(0,)) if rows else []


def _described(path: Path) -> str | None:
    """The file as it is now in a few words; None where there is none."""
    if not os.path.exists(path):
        return None
    try:
        styles = ledger_of(path).styles
    except MuseumFileError:
        return "a file that cannot be read as a museum"
    return _content(len(styles), styles[-1].name if styles else None)


def _content(count: int | None, newest: str | None) -> str:
    return printable(counted(count or 0, "style") + (f", the newest is {newest}" if newest else ""))


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
