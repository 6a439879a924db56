"""argparse for the commands: its complaints are ConfigErrors, and values are checked as they are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from museum_plugin.config.convert import to_float, to_int
from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import ConfigError

BASE_FLAG = "pretrained_model_name_or_path"
"""Here, in train_museum.py and in the settings that a ledger records."""


class CommandParser(argparse.ArgumentParser):
    """The parser of one command.

    Raises:
        ConfigError: instead of printing the usage and leaving.
    """

    def __init__(self, command: str, summary: str) -> None:
        super().__init__(
            prog=f"python -m museum_plugin {command}",
            description=summary[0].upper() + summary[1:] + ".",
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise ConfigError(
            f"command line: {message.removeprefix('argument ')}; `{self.prog} --help` lists what it takes"
        )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Read a command line; a misspelt flag is told the nearest known one.

        A command with a default `others` takes what it does not know itself under that name.
        """
        given, strange = self.parse_known_args(words)
        if others := vars(given).pop("others", None):
            setattr(given, others, strange)
        elif strange:
            name = strange[0].partition("=")[0]
            self.error(f"unknown argument {strange[0]!r}{did_you_mean(name, self._option_string_actions)}")
        return given


def add_museum_path(parser: argparse.ArgumentParser) -> None:
    """The museum file as the first argument."""
    parser.add_argument("museum", metavar="PATH", type=Path, help="the museum file (.safetensors)")


def add_base_folder(parser: argparse.ArgumentParser) -> None:
    """The base model, for a command that draws."""
    told = "the base model, a file or a diffusers folder (default: the one the museum was taught on)"
    parser.add_argument(f"--{BASE_FLAG}", type=Path, metavar="FOLDER", help=told)


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """What reads a whole number from low to high."""
    limits = f"a whole number from {low} to {high}" if high is not None else f"a whole number, {low} or more"

    def read(text: str) -> int:
        try:
            number = to_int(text, "")
        except ConfigError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"found {text!r}, allowed: {limits}")
        return number

    return read


def number_from(low: float) -> Callable[[str], float]:
    """What reads a finite number of low or more."""

    def read(text: str) -> float:
        try:
            number = to_float(text, "")
        except ConfigError:
            number = -math.inf
        if number < low:
            raise argparse.ArgumentTypeError(f"found {text!r}, allowed: a number, {low:g} or more")
        return number

    return read
