"""Turning what a user wrote into what is meant, or refusing it: where, what was found, what is allowed.

Harmless wrong types are converted ("1e-4", 75.0 for a whole number, "512,512"); nothing is guessed.
Every conversion takes the value and `where` it stood, such as "run.toml: learning_rate" or "--learning_rate".
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import logging
import math
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

INTEGER_LIMIT = 2**63
LONGEST_SHOWN = 60
"""Characters of a refused value that a message repeats."""


def shown(value: object) -> str:
    """A value as a message shows it: its repr, cut to a readable length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a table nested too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def refuse(where: str, value: object, allowed: str) -> NoReturn:
    """Raise the one message every refused value gets.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"{where}: found {shown(value)}, allowed: {allowed}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known name, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f'; did you mean "{near[0]}"?' if near else ""


def to_bool(value: object, where: str) -> bool:
    """true, false, their text, 0 or 1.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    refuse(where, value, "true, false")


def to_float(value: object, where: str) -> float:
    """A finite number, or its text.

    Raises:
        ConfigError: anything else, also nan and inf.
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    refuse(where, value, "a number")


def to_int(value: object, where: str) -> int:
    """A whole number below 2^63 in size; 75.0 and "75" count as one.

    Raises:
        ConfigError: anything else.
    """
    number: float = math.nan
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        digits = isinstance(value, int) or str(value).strip().lstrip("+-").isdecimal()
        with contextlib.suppress(ValueError):
            number = int(value) if digits else float(value)
    if abs(number) < INTEGER_LIMIT and number == int(number):
        return int(number)
    refuse(where, value, "a whole number")


def to_text(value: object, where: str) -> str:
    """A text; a whole number is taken as its digits.

    Raises:
        ConfigError: anything else, also a text with a NUL character.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = shown(value)
    if isinstance(value, str) and "\0" not in value:
        return value
    refuse(where, value, "a text")


def to_name(value: object, where: str) -> str:
    """A text with at least one visible character, without the spaces around it.

    Raises:
        ConfigError: anything else.
    """
    if not isinstance(value, str) or not value.strip():
        refuse(where, value, "a name that is not empty")
    return to_text(value, where).strip()


def to_path(value: object, where: str) -> Path:
    """A path; never the empty text, which would mean the current folder.

    Raises:
        ConfigError: anything else.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        refuse(where, value, "a path")
    return Path(value)


def to_resolution(value: object, where: str) -> tuple[int, int]:
    """(width, height) in pixels from 512, "512", "512,768" or [512, 768].

    Raises:
        ConfigError: anything else.
    """
    allowed = '512, "512,768" or [512, 768] (width, height in pixels)'
    parts: list[object] = [value]
    if isinstance(value, str):
        parts = list(value.split(","))
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    if len(parts) > 2 or (isinstance(value, (list, tuple)) and len(parts) != 2):
        refuse(where, value, allowed)
    try:
        numbers = [to_int(part, where) for part in parts]
    except ConfigError:
        refuse(where, value, allowed)
    return numbers[0], numbers[-1]


def to_rate(value: object, where: str) -> float:
    """One learning rate; a list (sd-scripts: one for each text encoder) only where all its numbers are equal.

    Raises:
        ConfigError: anything else.
    """
    if not isinstance(value, (list, tuple)):
        return to_float(value, where)
    rates = {to_float(rate, where) for rate in value}
    if len(rates) != 1:
        refuse(where, value, "one number, or a list of equal numbers")
    return rates.pop()


def to_share_or_count(value: object, where: str) -> float:
    """A count of 1 or more, or a share below 1; "10%" is 0.1 (sd-scripts).

    Raises:
        ConfigError: anything else, or less than 0.
    """
    allowed = 'a whole number of steps, a share below 1 such as 0.1, or "10%"'
    percent = isinstance(value, str) and value.strip().endswith("%")
    try:
        number = to_float(str(value).strip()[:-1], where) / 100 if percent else to_float(value, where)
    except ConfigError:
        refuse(where, value, allowed)
    if number < 0 or (percent and number >= 1) or (number >= 1 and not number.is_integer()):
        refuse(where, value, allowed)
    return number


def to_positive_or_off(value: object, where: str) -> float | None:
    """A number; 0 means off, which is None.

    Raises:
        ConfigError: not a number.
    """
    return to_float(value, where) or None


def to_count_or_off(value: object, where: str) -> int | None:
    """A whole number; 0 means off, which is None.

    Raises:
        ConfigError: not a whole number, or less than 0.
    """
    number = to_int(value, where)
    if number < 0:
        refuse(where, value, "a whole number, 0 for off")
    return number or None


def _pairs(value: object, where: str, allowed: str) -> dict[str, object]:
    """The pairs of `["key=value", ...]` or of a table, values as they stand."""
    if isinstance(value, dict):
        return dict(value)
    pairs: dict[str, object] = {}
    for item in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [None]:
        name, equals, text = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not equals or not name.strip():
            refuse(where, value, allowed)
        pairs[name.strip()] = text.strip()
    return pairs


def to_weights(value: object, where: str) -> dict[str, float]:
    """Name -> number, from `["name=3", ...]` or a table.

    Raises:
        ConfigError: anything else.
    """
    allowed = "name=number pairs or a table of numbers"
    return {name: to_float(number, f"{where}: {name}") for name, number in _pairs(value, where, allowed).items()}


def to_arguments(value: object, where: str) -> dict[str, object]:
    """Name -> Python literal, from `["betas=0.9,0.99", ...]` (sd-scripts) or a table.

    Raises:
        ConfigError: not such pairs, or a value that is no literal (a text needs quotes).
    """
    pairs = _pairs(value, where, "name=value pairs or a table")
    parse = _simple if isinstance(value, dict) else _literal
    return {name: parse(item, f"{where}: {name}") for name, item in pairs.items()}


LITERALS = "a number, True, False, None, a list of these, or a text in quotes"


def _literal(text: object, where: str) -> object:
    words = {"true": True, "false": False, "none": None}
    if str(text).lower() in words:
        return words[str(text).lower()]
    try:
        return _simple(ast.literal_eval(str(text)), where)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        refuse(where, text, LITERALS)


def _simple(value: object, where: str) -> object:
    """The value, lists as tuples; nothing that JSON could not hold (a date, a set, inf)."""
    if isinstance(value, (list, tuple)):
        return tuple(_simple(item, where) for item in value)
    if value is None or isinstance(value, (int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    refuse(where, value, LITERALS)


def existing(path: Path, folder: Path | None) -> Path:
    """The path itself; where nothing is there and it is relative, the one beside `folder` if that exists."""
    if folder is not None and not path.is_absolute() and not os.path.exists(path) and os.path.exists(folder / path):
        return folder / path
    return path


def read_table(path: Path, where: str) -> dict[str, object]:
    """A .json file, or else TOML; UTF-8 with or without a byte order mark.

    Raises:
        ConfigError: no such file (begins with `where`, such as "--config_file"), not readable, not valid, not a table.
    """
    if not os.path.isfile(path):
        raise ConfigError(f'{where}: no file "{path}"')
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        reason = "tables nested too deep" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{path}: not valid {kind}: {reason}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: found {shown(table)}, allowed: a table of keys and values")
    return table


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a text file, one a line; `#` begins a comment line, sd-scripts' ` --` options are left out.

    Raises:
        ConfigError: no such file, not a text file, or no prompt in it.
    """
    if path.suffix.lower() in (".toml", ".json"):
        raise ConfigError(f'sample_prompts: found "{path}", allowed: a text file with one prompt a line')
    if not os.path.isfile(path):
        raise ConfigError(f'sample_prompts: no file "{path}"')
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f'sample_prompts: cannot read "{path}" as UTF-8 text: {error}') from error
    lines = [line for line in lines if line and not line.startswith("#")]
    prompts = [f" {line}".partition(" --")[0].strip() for line in lines]
    if prompts != lines:
        log.warning("%s: options after a prompt (--w, --s, ...) are not honoured yet", path)
    prompts = [prompt for prompt in prompts if prompt]
    if not prompts:
        raise ConfigError(f"sample_prompts: no prompt in {path}; write one a line")
    return tuple(prompts)
