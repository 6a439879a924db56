"""`python -m museum_plugin COMMAND ...`: look into a museum, draw with it, go back. Alone, it lists the commands."""

from __future__ import annotations

import importlib
import io
import sys

from museum_plugin import __version__
from museum_plugin.cli import COMMANDS
from museum_plugin.cli.console import run_reporting_errors
from museum_plugin.cli.parser import CommandParser
from museum_plugin.cli.text_lines import table
from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import ConfigError


def main(words: list[str]) -> int:
    """Run one command. Returns the exit code."""
    return run_reporting_errors(lambda: run_command(words), when_stopped="stopped")


def run_command(words: list[str]) -> None:
    """Find the command and run it.

    Raises:
        ConfigError: no such command, or it does not take these arguments.
        MuseumError: whatever else the user can mend.
    """
    name, *rest = words or ["--help"]
    if name in ("-h", "--help", "help"):
        print("\n".join(overview()))
    elif name in ("-V", "--version", "version"):
        print(__version__)
    elif name not in COMMANDS:
        raise ConfigError(f"unknown command {name!r}{did_you_mean(name, COMMANDS)}; allowed: {', '.join(COMMANDS)}")
    else:
        command = importlib.import_module(f"museum_plugin.cli.{COMMANDS[name].module}")
        parser = CommandParser(name, COMMANDS[name].summary)
        command.add_arguments(parser)
        command.run(parser.parse(rest))


def overview() -> list[str]:
    """The commands, one line each."""
    rows = [(f"  {name}", command.summary) for name, command in COMMANDS.items()]
    return [
        "usage: python -m museum_plugin COMMAND ...",
        "",
        *table(rows),
        "",
        "`python -m museum_plugin COMMAND --help` tells what a command takes. To teach a style: train_museum.py",
    ]


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a style's name may hold letters that the terminal does not know
    sys.exit(main(sys.argv[1:]))
