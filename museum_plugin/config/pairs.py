"""Turning pairs of name and value into a table: `["name=value", ...]` of the command line, or a table of a file."""

from __future__ import annotations

import ast
import math

from museum_plugin.config.convert import to_float
from museum_plugin.config.refusal import named, refusal


def to_pairs(value: object, where: str, allowed: str) -> dict[str, object]:
    """The pairs of `["key=value", ...]` or of a table, values as they stand.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, dict):
        return dict(value)
    pairs: dict[str, object] = {}
    for item in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [None]:
        name, equals, text = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not equals or not name.strip():
            raise refusal(where, value, allowed)
        pairs[name.strip()] = text.strip()
    return pairs


def to_weights(value: object, where: str) -> dict[str, float]:
    """Name -> number, from `["name=3", ...]` or a table.

    Raises:
        ConfigError: anything else.
    """
    allowed = "name=number pairs or a table of numbers"
    return {
        name: to_float(number, f"{where}: {named(name)}") for name, number in to_pairs(value, where, allowed).items()
    }


def to_arguments(value: object, where: str) -> dict[str, object]:
    """Name -> Python literal, from `["betas=0.9,0.99", ...]` (sd-scripts) or a table.

    Raises:
        ConfigError: not such pairs, or a value that is no literal (a text needs quotes).
    """
    pairs = to_pairs(value, where, "name=value pairs or a table")
    parse = _simple if isinstance(value, dict) else _literal
    return {name: parse(item, f"{where}: {named(name)}") for name, item in pairs.items()}


LITERALS = "a number, True, False, None, a list of these, or a text in quotes"


def _literal(text: object, where: str) -> object:
    words = {"true": True, "false": False, "none": None}
    if str(text).lower() in words:
        return words[str(text).lower()]
    try:
        return _simple(ast.literal_eval(str(text)), where)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise refusal(where, text, LITERALS) from None


def _simple(value: object, where: str) -> object:
    """The value, lists as tuples; nothing that JSON could not hold (a date, a set, inf)."""
    if isinstance(value, (list, tuple)):
        return tuple(_simple(item, where) for item in value)
    if value is None or isinstance(value, (int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise refusal(where, value, LITERALS)
