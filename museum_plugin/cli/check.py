"""`check`: a dry run of train_museum.py. Everything is read and opened, nothing is trained or written."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import number_from
from museum_plugin.cli.text_lines import counted
from museum_plugin.errors import MuseumError

_FLAGS = "flags"


def add_arguments(parser: ArgumentParser) -> None:
    """What `check` takes: whatever train_museum.py takes, and flags of its own."""
    parser.usage = "%(prog)s [--json] [--vram GIB] [--forecast] FLAGS..."
    parser.epilog = "FLAGS are those of train_museum.py; `python train_museum.py --help` lists them."
    parser.add_argument("--json", action="store_true", help="print the same as JSON, for programs")
    told = "size of the card that is asked about (default: the one that is there)"
    parser.add_argument("--vram", type=number_from(0), metavar="GIB", help=told)
    told = "load the base model, and say how long the first new style takes and what the others keep of it (minutes)"
    parser.add_argument("--forecast", action="store_true", help=told)
    parser.set_defaults(others=_FLAGS)


def run(given: Namespace) -> None:
    """Print what a run would do, what is worth a thought, and all that is wrong.

    Raises:
        MuseumError: something is wrong that training would refuse.
    """
    from museum_plugin.cli.check_page import report_lines
    from museum_plugin.cli.check_report import examine  # torch takes seconds to load

    report = examine(getattr(given, _FLAGS), given.vram, look=given.forecast)
    if given.json:
        print(json.dumps(dataclasses.asdict(report), indent=2, default=_plain))
    else:
        print("\n".join(report_lines(report)))
    if report.problems:
        raise MuseumError(
            f"train_museum.py would refuse this: {counted(len(report.problems), 'problem')}, listed above"
        )


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
