"""Reading the text files a user names: tables (TOML, JSON) and prompts."""

from __future__ import annotations

import json
import logging
import os
import tomllib
from pathlib import Path

from museum_plugin.config.refusal import shown
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


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
        reason = "tables nested too deep" if isinstance(error, RecursionError) else str(error)
        if kind == "TOML" and ("\\" in reason or "hex" in reason):
            reason += "; write paths with backslashes in single quotes: 'C:\\pictures'"
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
