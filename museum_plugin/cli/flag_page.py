"""`flags`: the page of all flags of train_museum.py, made from the tables that read them."""

from __future__ import annotations

import importlib
import json
import pkgutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path

from museum_plugin.cli.text_lines import counted
from museum_plugin.config import flags
from museum_plugin.config.files import write_atomically
from museum_plugin.config.flags import FLAGS, NOT_HONOURED, Flag
from museum_plugin.config.learning import THEIR_DEFAULTS

REWRITE = "python -m museum_plugin flags --write"
"""What brings page and frozen surface up to date, called in the folder of the repository."""
PAGE, SURFACE = Path("docs/flags.md"), Path("tests/golden/flags.json")
_INTRODUCTION = f"""# Flags of train_museum.py

Written by `{REWRITE}`; do not edit. Every flag is also a key of a `--config_file`.
A flag that takes yes or no is given alone for yes. The data flags are defaults of the dataset file, whose values win.
Other defaults than here has sd-scripts for {", ".join(f"`{n}` ({v})" for n, v in THEIR_DEFAULTS.items())}:
a run that gives `network_module` and not these says so.
"""
_NOT_HONOURED = """## Accepted but not honoured

Flags of sd-scripts that are read and change nothing; a run that gives one another value than this default says so.
"""
_TYPES = {
    "to_bool": "yes or no",
    "to_int": "whole number",
    "to_count_or_auto": "whole number, or auto",
    "to_float": "number",
    "to_text": "text",
    "to_name": "text",
    "to_path": "path",
}
"""Names of conversions as a user says them; of others, their own name."""


def add_arguments(parser: ArgumentParser) -> None:
    """What `flags` takes."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--json", action="store_true", help="print name, type, default and choices as JSON instead")
    told = f"rewrite {PAGE} and {SURFACE} in the current folder, for contributors"
    which.add_argument("--write", action="store_true", help=told)


def run(given: Namespace) -> None:
    """Print the page or the surface, or write both.

    Raises:
        OutputError: a file cannot be written.
    """
    if given.write:
        write_atomically(PAGE, page().encode())
        write_atomically(SURFACE, surface().encode())
        print(f"{PAGE} and {SURFACE}: {counted(len(FLAGS), 'flag')}")
    else:
        print(surface() if given.json else page(), end="")


def page() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION]
    heading = ("flag", "type", "default", "choices", "what it does")
    for title, members in topics().items():
        parts.append(f"## {title}\n\n" + _table(heading, map(_row, members)))
    rows = [(f"`--{name}`", str(known["type"]), _code(known["default"])) for name, known in NOT_HONOURED.items()]
    parts.append(f"{_NOT_HONOURED}\n" + _table(("flag", "type", "default"), rows))
    return "\n".join(parts)


def surface() -> str:
    """Name -> type, default and choices of every flag that is honoured, as JSON."""
    described = {
        flag.name: {"type": type_name(flag), "default": _plain(flag.default), "choices": list(flag.choices)}
        for flag in FLAGS
    }
    return json.dumps(described, indent=1, sort_keys=True) + "\n"


def topics() -> dict[str, list[Flag]]:
    """The flags under the titles of the files that hold their tables, in the order of `--help`."""
    found = [importlib.import_module(f"{flags.__name__}.{info.name}") for info in pkgutil.iter_modules(flags.__path__)]
    titles = {
        flag.name: (module.__doc__ or "").strip().partition("\n")[0].rstrip(".").partition(". ")[0]
        for module in found
        for flag in getattr(module, "FLAGS", ())
    }
    grouped: dict[str, list[Flag]] = {}
    for flag in FLAGS:
        grouped.setdefault(titles[flag.name], []).append(flag)
    return grouped


def type_name(flag: Flag) -> str:
    """What kind of value a flag takes."""
    name = getattr(flag.convert, "__name__", "value")
    return _TYPES.get(name, name.removeprefix("to_").replace("_", " "))


def _row(flag: Flag) -> tuple[str, ...]:
    default = "" if flag.default in (None, ()) else _code(_plain(flag.default))
    choices = ", ".join(f"`{choice}`" for choice in flag.choices)
    return f"`--{flag.name}`", type_name(flag), default, choices, flag.help


def _code(value: object) -> str:
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _plain(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str, dict)) else str(value)


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
