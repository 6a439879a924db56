"""Commands that make another museum of a museum: replaced whole or not at all, the one before kept."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.train.museum_file import museum_lock

_Told = TypeVar("_Told")


def add_output(parser: ArgumentParser) -> None:
    """Where the result goes."""
    told = "write the result there, and leave the museum as it is"
    parser.add_argument("--output", type=Path, metavar="FILE", help=told)


def rewritten(
    path: Path, output: Path | None, change: Callable[[MuseumContent], tuple[MuseumContent, _Told]]
) -> tuple[Path, MuseumContent, _Told]:
    """Write what becomes of a museum; where it replaces the museum, that goes to the history.

    Args:
        output: another file to write; None replaces the museum.
        change: what is to be made of it, and what is to be told of that; whatever it raises, nothing is written.
    Returns:
        the file that was written, what it holds, and what is to be told.
    Raises:
        MuseumFileError: the file cannot be read, or is being taught.
        ConfigError: `output` is there already.
        OutputError: the result cannot be written; nothing is changed.
    """
    target = output or path
    is_new = target != path
    if is_new and os.path.lexists(target):
        raise ConfigError(f"--output: {target} is there already; give another path")
    read_museum(path)  # a file that is not there gets no lock beside it
    with museum_lock(path):
        content, told = change(read_museum(path))
        write_museum(target, content, keep_history=None)
    return target, content, told


def way_back(path: Path, target: Path) -> list[str]:
    """How the change of a museum is undone; nothing where the museum is as it was."""
    quoted = f'"{path}"' if " " in str(path) else str(path)
    return [f"undo: python -m museum_plugin rollback {quoted}"] if target == path else []
