"""How a ledger stands in a file: versioned JSON, whose fields and types are checked one by one."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, NamedTuple, NoReturn

from museum_plugin.config.refusal import shown
from museum_plugin.errors import MuseumFileError, TrainingError

FORMAT_VERSION = 1
"""Of the museum file; raised with every change that an older Museum would misread."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""Version n -> what turns a ledger of version n into one of version n + 1."""


class Kind(NamedTuple):
    """The type of a field: how a message names it, whether a value is of it, and what is kept of the value."""

    says: str
    holds: Callable[[Any], bool]
    make: Callable[[Any], Any]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


_TEXT = Kind("a text", _is_text, str)
_WHOLE = Kind("a whole number, 0 or more", _is_whole, int)
_NUMBER = Kind("a number", _is_number, lambda number: number)
_TEXTS = Kind("a list of texts", _list_of(_is_text), tuple)
_WHOLES = Kind("a list of whole numbers, 0 or more", _list_of(_is_whole), tuple)
_TABLE = Kind("a table", _is_table, dict)
_TABLES = Kind("a list of tables", _list_of(_is_table), list)
_NUMBERS = Kind("a table of numbers", lambda table: _is_table(table) and all(map(_is_number, table.values())), dict)

_RANKS = Kind("a table of whole numbers", lambda table: _is_table(table) and all(map(_is_whole, table.values())), dict)

LEDGER = {"museum_id": _TEXT, "base": _TABLE, "network": _TABLE, "styles": _TABLES, "format_version": _WHOLE}
BASE = dict.fromkeys(("fingerprint", "family", "prediction_type", "name"), _TEXT)
NETWORK = {"rank": _WHOLE, "alpha": _NUMBER, "targets": _TEXTS, "ranks": _RANKS, "alphas": _NUMBERS}
NETWORK["shaped_by"] = _TEXT
_ONLY_IF_ANY = ("ranks", "alphas", "shaped_by")
"""Fields that a file leaves out where they are empty, as files of earlier versions do."""
STYLE = {
    **dict.fromkeys(("name", "trigger", "taught_at", "data_fingerprint", "method"), _TEXT),
    **dict.fromkeys(("steps", "pictures"), _WHOLE),
    **dict.fromkeys(("weights", "scores"), _NUMBERS),
    **dict.fromkeys(("settings", "signature"), _TABLE),
    "words": _TEXTS,
    "token_ids": _WHOLES,
}


def checked(data: dict[str, Any], kinds: dict[str, Kind], where: str) -> dict[str, Any]:
    """The known fields in their types, and all others under "extra".

    Raises:
        MuseumFileError: a known field is missing, or of another type.
    """
    known = {}
    for name, kind in kinds.items():
        if name not in data:
            raise MuseumFileError(f"{where}: field {name!r} is missing; the file is damaged")
        if not kind.holds(data[name]):
            raise MuseumFileError(f"{where}: {name}: found {shown(data[name])}, allowed: {kind.says}")
        known[name] = kind.make(data[name])
    return {**known, "extra": {name: value for name, value in data.items() if name not in kinds}}


def migrated(data: dict[str, Any], migrations: Mapping[int, Migration]) -> dict[str, Any]:
    """The table of a ledger of any known version, as this version writes it.

    Raises:
        MuseumFileError: its version is newer, too old, or no number.
    """
    version = data.get("format_version")
    if not isinstance(version, int) or not _is_whole(version):
        raise MuseumFileError(f"ledger: format_version: found {shown(version)}, allowed: {_WHOLE.says}")
    if version > FORMAT_VERSION:
        raise MuseumFileError(
            f"written by a newer Museum: found format version {version}, known up to {FORMAT_VERSION}; update Museum"
        )
    for old in range(version, FORMAT_VERSION):
        if old not in migrations:
            raise MuseumFileError(f"ledger: found format version {old}, which this Museum cannot read any more")
        data = {**migrations[old](data), "format_version": old + 1}
    return data


def parsed(text: str) -> dict[str, Any]:
    """The table that a text holds.

    Raises:
        MuseumFileError: not JSON, no table, or a number in it is not finite.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MuseumFileError(f"ledger: not valid JSON ({error}); the file is damaged") from error
    if not _is_table(data):
        raise MuseumFileError(f"ledger: found {shown(data)}, allowed: a table; the file is damaged")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that a ledger may hold")


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse_constant(text)


def as_table(record: object) -> dict[str, Any]:
    """A record as a table, its extra fields beside the known ones."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}  # type: ignore[arg-type]
    values = {name: value for name, value in values.items() if value or name not in _ONLY_IF_ANY}
    return {**values.pop("extra"), **values}


def dumped(table: dict[str, Any], where: str) -> str:
    """A table as text, with its keys in order.

    Raises:
        TrainingError: a number in it is not finite.
    """
    try:
        return json.dumps(table, default=_plain, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise TrainingError(f"{where}: a number in its record is not finite; nothing was written") from error


def _plain(value: object) -> Any:
    """What JSON does not know: records, paths among the flags, numbers of numpy and torch."""
    if is_dataclass(value) and hasattr(value, "extra"):
        return as_table(value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a ledger cannot hold {value!r} of type {type(value).__name__}")
