"""The logs of a run: which are begun, where, and what they are told about it."""

from __future__ import annotations

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from museum_plugin.config.flags import BY_NAME, describe
from museum_plugin.config.read import read_table
from museum_plugin.config.refusal import did_you_mean, refusal
from museum_plugin.config.schema import LogConfig, RunConfig
from museum_plugin.errors import ConfigError

_KINDS = ("tensorboard", "wandb")


def logs_folder(run: RunConfig) -> Path | None:
    """Where the logs go: with a prefix, a folder of their own."""
    folder, prefix = run.output.logging_dir, run.log.prefix
    if folder is None or prefix is None:
        return folder
    return folder / f"{prefix}{datetime.now().strftime('%Y%m%d%H%M%S')}"


def begin_logs(accelerator: Accelerator, run: RunConfig) -> None:
    """Open the logs that the run asks for.

    Raises:
        ConfigError: see `log_options`; or a log refuses what the file tells it.
    """
    output, told = run.output, run.log
    if told.wandb_api_key is not None and output.log_with in ("wandb", "all"):
        importlib.import_module("wandb").login(key=told.wandb_api_key)
    settings = logged_settings(run) if told.with_settings else None
    try:
        accelerator.init_trackers(told.tracker_name or output.output_name, settings, log_options(told))
    except TypeError as error:
        if told.tracker_config is None:
            raise
        raise ConfigError(f"{told.tracker_config}: a log refuses this: {error}") from error


def log_options(config: LogConfig) -> dict[str, dict[str, Any]]:
    """Kind of log -> what it is told besides, as `log_tracker_config` and `wandb_run_name` say.

    Raises:
        ConfigError: the file cannot be read, or has something other than a table for each kind of log.
    """
    options = {"wandb": {"name": config.wandb_run_name}} if config.wandb_run_name else {}
    path = config.tracker_config
    for kind, table in read_table(path, "log_tracker_config").items() if path is not None else ():
        if kind not in _KINDS:
            allowed = f"a table for each of {', '.join(_KINDS)}{did_you_mean(kind, _KINDS)}"
            raise refusal(f"log_tracker_config: {path}", kind, allowed)
        if not isinstance(table, dict):
            raise refusal(f"log_tracker_config: {path}: {kind}", table, "a table")
        options[kind] = {**options.get(kind, {}), **table}
    return options


def logged_settings(run: RunConfig) -> dict[str, Any]:
    """The flags of a run as logs take them: numbers and texts, without secrets, paths and what was not given."""
    told = {name: value for name, value in describe(run).items() if value not in (None, [], {})}
    return {
        name: value if isinstance(value, (bool, int, float, str)) else str(value)
        for name, value in told.items()
        if not BY_NAME[name].is_place
    }
