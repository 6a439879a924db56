"""Prompts of previews, as sd-scripts writes them: lines with options, TOML, or JSON."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from museum_plugin.config.convert import to_float, to_int, to_text
from museum_plugin.config.read import existing, read_table
from museum_plugin.config.refusal import refusal
from museum_plugin.config.schema import SAMPLERS, PromptOptions
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

Prompts = tuple[tuple[str, ...], tuple[PromptOptions, ...]]
"""Prompts, and the options of each; no options at all where none has any."""


def _to_sampler(value: object, where: str) -> str:
    if value not in SAMPLERS:
        raise refusal(where, value, ", ".join(SAMPLERS))
    return str(value)


_OPTIONS: dict[str, tuple[str, str, Callable[[object, str], object]]] = {
    "n": ("negative_prompt", "negative", to_text),
    "w": ("width", "width", to_int),
    "h": ("height", "height", to_int),
    "d": ("seed", "seed", to_int),
    "s": ("sample_steps", "steps", to_int),
    "l": ("scale", "guidance", to_float),
    "ss": ("sample_sampler", "sampler", _to_sampler),
}
"""Option of a line -> key of a table, field, conversion. Others that sd-scripts knows are for other models."""
_BY_KEY = {key: (field, convert) for key, field, convert in _OPTIONS.values()}


def read_prompt_file(path: Path) -> Prompts:
    """The prompts of a .txt, .toml or .json file.

    A text file has one a line, `#` begins a comment, options follow (`--n --w --h --d --s --l --ss`). A TOML file has
    `[[prompt.subset]]` tables, and defaults for all in `[prompt]`. A JSON file has a list of lines or tables.

    Raises:
        ConfigError: no such file, not readable, an impossible option, or no prompt in it.
    """
    if not path.is_file():
        raise ConfigError(f'sample_prompts: no file "{path}"')
    if path.suffix.lower() == ".toml":
        prompt = read_table(path, "sample_prompts").get("prompt")
        if not isinstance(prompt, dict) or not isinstance(prompt.get("subset", []), list):
            raise ConfigError(f"{path}: found no [prompt] with [[prompt.subset]] tables, which a prompt file needs")
        shared = {key: value for key, value in prompt.items() if key != "subset"}
        found: Iterable[Any] = [{**shared, **subset} for subset in prompt.get("subset", [shared])]
    elif path.suffix.lower() == ".json":
        found = _json_list(path)
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise ConfigError(f'sample_prompts: cannot read "{path}" as UTF-8 text: {error}') from error
        found = _lines(text)
    prompts = read_prompt_items(found, str(path))
    if not prompts[0]:
        raise ConfigError(f"sample_prompts: no prompt in {path}; write one a line")
    return prompts


def read_prompt_items(items: Iterable[Any], where: str) -> Prompts:
    """Lines or tables as prompts; what is not used is said once.

    Raises:
        ConfigError: neither line nor table, or an impossible option.
    """
    ignored: dict[str, None] = {}
    read = [_read(item, f"{where}: prompt {i}", ignored) for i, item in enumerate(items, start=1)]
    read = [(prompt, options) for prompt, options in read if prompt]
    if ignored:
        log.warning("%s: options that mean nothing to these models: %s", where, ", ".join(ignored))
    options = tuple(each for _, each in read)
    return tuple(prompt for prompt, _ in read), options if any(o != PromptOptions() for o in options) else ()


def prompt_list(raw: list[object], where: str) -> tuple[str, ...]:
    """The lines of a list in a config file.

    Raises:
        ConfigError: one of them is no text.
    """
    if not all(isinstance(prompt, str) for prompt in raw):
        raise refusal(where, raw, "a text file, or a list of prompts")
    return tuple(map(str, raw))


def prompts_in(text: str, folder: Path | None) -> tuple[str, ...] | None:
    """The prompts of a text that stands where the path of a file is wanted, as lora-scripts writes it.

    Args:
        folder: of the config file the text stands in.
    Returns:
        one a line; None where the text is a path: there is such a file, or it is named like one.
    """
    lines = _lines(text)
    if "\0" in text or os.path.exists(existing(Path(text), folder)) or not any(map(_reads_as_prompt, lines)):
        return None
    return tuple(lines)


def _lines(text: str) -> list[str]:
    """Without empty ones and comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def _reads_as_prompt(line: str) -> bool:
    if re.search(r"(^|\s)--[a-z]{1,2}\s", line, flags=re.IGNORECASE):
        return True
    return " " in line.strip() and Path(line).suffix.lower() not in (".txt", ".toml", ".json")


def _json_list(path: Path) -> list[Any]:
    found: Any = read_table(path, "sample_prompts", kind=list)
    return list(found)


def _read(item: object, where: str, ignored: dict[str, None]) -> tuple[str, PromptOptions]:
    if isinstance(item, str):
        return _read_line(item, where, ignored)
    if not isinstance(item, Mapping):
        raise refusal(where, item, "a text, or a table with a prompt")
    fields: dict[str, Any] = {}
    for key, value in item.items():
        if key in _BY_KEY:
            field, convert = _BY_KEY[key]
            fields[field] = convert(value, f"{where}: {key}")
        elif key not in ("prompt", "enum"):
            ignored[str(key)] = None
    return to_text(item.get("prompt", ""), f"{where}: prompt").strip(), _options(fields, where)


def _read_line(line: str, where: str, ignored: dict[str, None]) -> tuple[str, PromptOptions]:
    prompt, *rest = f" {line}".split(" --")
    fields: dict[str, Any] = {}
    for part in rest:
        match = re.fullmatch(r"(\w+)\s*(.*)", part.strip(), flags=re.DOTALL)
        name, text = (match[1].lower(), match[2].strip()) if match else (part, "")
        if name in _OPTIONS:
            _, field, convert = _OPTIONS[name]
            fields[field] = convert(text, f"{where}: --{name}")
        else:
            ignored[f"--{name}"] = None
    return prompt.strip(), _options(fields, where)


def _options(fields: dict[str, Any], where: str) -> PromptOptions:
    try:
        return PromptOptions(**fields)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
