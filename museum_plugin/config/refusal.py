"""Messages about what a user wrote: where, what was found, what is allowed, the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from museum_plugin.errors import ConfigError

LONGEST_SHOWN = 60
"""Characters of a refused value that a message repeats."""
TAUGHT_BASES = "the bases taught here are Stable Diffusion 1.x, 2.x and XL"


def shown(value: object) -> str:
    """A value as a message shows it: its repr, cut to a readable length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a table nested too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def named(name: str) -> str:
    """A key as a message shows it: itself, or its repr where it is long or has characters that cannot be seen."""
    return name if name.isprintable() and len(name) <= LONGEST_SHOWN else shown(name)


def refusal(where: str, value: object, allowed: str) -> ConfigError:
    """The one error that every refused value is met with."""
    return ConfigError(f"{where}: found {shown(value)}, allowed: {allowed}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known name, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f'; did you mean "{near[0]}"?' if near else ""
