"""`--output_config`: the settings of a command line as a config file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import toml

from museum_plugin.config.convert import to_bool, to_path
from museum_plugin.config.files import write_atomically
from museum_plugin.config.flags import BY_NAME, asks_for_nothing
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


def config_path(path: Path) -> Path:
    """The file that `--config_file` names; ".toml" is added where it is missing."""
    return path if path.suffix.lower() == ".toml" else Path(f"{path}.toml")


def config_files(typed: dict[str, Any]) -> tuple[list[Path], Path | None]:
    """Take `--config_file` and `--output_config` out of a command line.

    Returns:
        the files to read, and the one to write, which is then the last one given.
    Raises:
        ConfigError: there is none to write.
    """
    files = [to_path(path, "--config_file") for path in typed.pop("config_file", [])]
    if not to_bool(typed.pop("output_config", False), "--output_config"):
        return files, None
    if not files:
        raise ConfigError("--output_config: needs --config_file, the file to write")
    return files[:-1], config_path(files[-1])


def write_config(path: Path, values: Mapping[str, object], not_honoured: Mapping[str, object]) -> NoReturn:
    """Write everything that is not at its default; no secrets. Then leave with exit code 0, as `--help` does.

    Args:
        values: checked values by flag name.
        not_honoured: values of flags that are accepted only; they are kept as they were given.
    Raises:
        ConfigError: there is such a file already.
        OutputError: it cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path}: is there already; --output_config overwrites nothing, give another --config_file")
    told = {name: value for name, value in not_honoured.items() if not asks_for_nothing(name, value)}
    for name, value in values.items():
        flag = BY_NAME[name]
        if name != "output_config" and not flag.is_secret and value != flag.default:
            told[name] = 0 if value is None else _plain(value)  # None: switched off
    tables_last = sorted(told.items(), key=lambda item: isinstance(item[1], dict))
    write_atomically(path, toml.dumps(dict(tables_last)).encode())
    log.info("settings written to %s", path)
    raise SystemExit(0)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
