"""Turning what a user wrote into what is meant, or refusing it: where, what was found, what is allowed.

Harmless wrong types are converted ("1e-4", 75.0 for a whole number, "512,512"); nothing is guessed.
Every conversion takes the value and `where` it stood, such as "run.toml: learning_rate" or "--learning_rate".
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from museum_plugin.config.refusal import refusal, shown
from museum_plugin.config.schema.base import AUTO
from museum_plugin.config.schema.output import EXPORTS
from museum_plugin.errors import ConfigError

INTEGER_LIMIT = 2**63


def each(value: object) -> list[object]:
    """What stands in a list, or the one value that stands alone."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


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
    raise refusal(where, value, "true, false")


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
    raise refusal(where, value, "a number")


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
    raise refusal(where, value, "a whole number")


def to_count_or_auto(value: object, where: str) -> int | str:
    """A whole number, or the word "auto".

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, str) and value.strip().lower() == AUTO:
        return AUTO
    try:
        return to_int(value, where)
    except ConfigError as error:
        raise refusal(where, value, f"a whole number, or {AUTO}") from error


def to_token_length(value: object, where: str) -> int:
    """Tokens of a caption; only whole chunks of 75 are read (sd-scripts), so that 255 of lora-scripts means 225.

    Raises:
        ConfigError: not a whole number.
    """
    number = to_int(value, where)
    return number // 75 * 75 if 225 < number < 300 else number


def to_text(value: object, where: str) -> str:
    """A text; a whole number is taken as its digits.

    Raises:
        ConfigError: anything else, also a text with a NUL character.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = shown(value)
    if isinstance(value, str) and "\0" not in value:
        return value
    raise refusal(where, value, "a text")


def to_text_or_off(value: object, where: str) -> str | None:
    """A text; the empty one means off, which is None.

    Raises:
        ConfigError: see `to_text`.
    """
    return to_text(value, where) or None


def to_name(value: object, where: str) -> str:
    """A text with at least one visible character, without the spaces around it.

    Raises:
        ConfigError: anything else.
    """
    if not isinstance(value, str) or not value.strip():
        raise refusal(where, value, "a name that is not empty")
    return to_text(value, where).strip()


def to_exports(value: object, where: str) -> tuple[str, ...]:
    """Names of what a museum is published for, in a list or with commas between; none, off and false are nothing.

    Raises:
        ConfigError: anything else.
    """
    if value is False:
        return ()
    texts = each(value)
    if not all(isinstance(text, str) for text in texts):
        raise refusal(where, value, "names such as sidecars, webui or none")
    names = [name for text in texts for name in str(text).lower().replace(",", " ").split()]
    if names in (["none"], ["off"], ["false"]):
        return ()
    everything = [name for name in EXPORTS if name not in ("plain", "sidecars")]
    return tuple(dict.fromkeys(each for name in names for each in (everything if name == "all" else [name])))


def to_path(value: object, where: str) -> Path:
    """A path; never the empty text, which would mean the current folder, nor one with a line break or tab in it.

    Raises:
        ConfigError: anything else.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise refusal(where, value, "a path")
    if any(ord(character) < ord(" ") for character in value):
        raise refusal(where, value, "a path; write one with backslashes in single quotes")
    return Path(value)


def to_picture(value: object, where: str) -> Path | str:
    """The path of a picture, or a data URL, which holds one.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, str) and value.startswith("data:image/"):
        return to_text(value, where)
    return to_path(value, where)


def to_spoken(value: object, where: str) -> str:
    """A text; true and false as front ends write them are taken as words.

    Raises:
        ConfigError: see `to_text`.
    """
    return to_text(str(value) if isinstance(value, bool) else value, where)


def to_paths(value: object, where: str) -> tuple[Path, ...]:
    """One path, or a list of them.

    Raises:
        ConfigError: anything else.
    """
    return tuple(to_path(path, where) for path in each(value))


def to_numbers(value: object, where: str) -> tuple[float, ...]:
    """One finite number, or a list of them.

    Raises:
        ConfigError: anything else.
    """
    return tuple(to_float(number, where) for number in each(value))


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
        raise refusal(where, value, allowed)
    try:
        numbers = [to_int(part, where) for part in parts]
    except ConfigError:
        raise refusal(where, value, allowed) from None
    return numbers[0], numbers[-1]


def to_range(value: object, where: str) -> tuple[float, float]:
    """(from, to) from [2, 4] or "2.0,4.0".

    Raises:
        ConfigError: anything else.
    """
    parts = value.split(",") if isinstance(value, str) else value
    try:
        if isinstance(parts, (list, tuple)) and len(parts) == 2:
            return to_float(parts[0], where), to_float(parts[1], where)
    except ConfigError:
        pass
    raise refusal(where, value, '[2.0, 4.0] or "2.0,4.0" (from, to)') from None


def to_rates(value: object, where: str) -> float | tuple[float, ...]:
    """One learning rate, or a list of them (sd-scripts: one for each text encoder); equal ones are one.

    Raises:
        ConfigError: anything else.
    """
    if not isinstance(value, (list, tuple)):
        return to_float(value, where)
    rates = tuple(to_float(rate, where) for rate in value)
    if not rates:
        raise refusal(where, value, "one number, or one for each text encoder")
    return rates[0] if len(set(rates)) == 1 else rates


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
        raise refusal(where, value, allowed) from None
    if number < 0 or (percent and number >= 1) or (number >= 1 and not number.is_integer()):
        raise refusal(where, value, allowed)
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
        raise refusal(where, value, "a whole number, 0 for off")
    return number or None


def to_count_or_one(value: object, where: str) -> int:
    """A whole number; 0 means nothing was chosen, which is 1.

    Raises:
        ConfigError: not a whole number, or less than 0.
    """
    return to_count_or_off(value, where) or 1
