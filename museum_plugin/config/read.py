"""Reading the tables a user names: TOML and JSON."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from museum_plugin.config.refusal import shown
from museum_plugin.errors import ConfigError


def existing(path: Path, folder: Path | None) -> Path:
    """The path itself; where nothing is there and it is relative, the one beside `folder` if that exists."""
    if folder is not None and not path.is_absolute() and not os.path.exists(path) and os.path.exists(folder / path):
        return folder / path
    return path


def read_table(path: Path, where: str, kind: type = dict) -> Any:
    """A .json file, or else TOML; UTF-8 with or without a byte order mark.

    Args:
        kind: what stands in it, dict or list.
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
        form = "JSON" if path.suffix.lower() == ".json" else "TOML"
        reason = "tables nested too deep" if isinstance(error, RecursionError) else str(error)
        if form == "TOML" and ("\\" in reason or "hex" in reason):
            reason += "; write paths with backslashes in single quotes: 'C:\\pictures'"
        raise ConfigError(f"{path}: not valid {form}: {reason}") from error
    if not isinstance(table, kind):
        allowed = "a table of keys and values" if kind is dict else "a list"
        raise ConfigError(f"{path}: found {shown(table)}, allowed: {allowed}")
    return table
