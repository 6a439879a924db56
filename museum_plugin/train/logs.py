"""The logs of a run: which are begun, where, and what they are told about it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from PIL import Image

from museum_plugin.config.flags import BY_NAME, describe
from museum_plugin.config.read import read_table
from museum_plugin.config.refusal import did_you_mean, refusal
from museum_plugin.config.schema import LogConfig, RunConfig
from museum_plugin.errors import ConfigError

_KINDS = ("tensorboard", "wandb")
_STEP = "global_step"
"""What a step is called at wandb, as in sd-scripts."""


def logs_folder(run: RunConfig) -> Path | None:
    """Where the logs go: with a prefix, a folder of their own."""
    folder, prefix = run.output.logging_dir, run.log.prefix
    if folder is None or prefix is None:
        return folder
    return folder / f"{prefix}{datetime.now().strftime('%Y%m%d%H%M%S')}"


def log_kinds(log_with: str | None) -> list[str]:
    """The logs of a run: none, one, or for "all" both."""
    return list(_KINDS) if log_with == "all" else [log_with] if log_with else []


def check_logs(run: RunConfig) -> None:
    """Refuse logs that cannot be written, before anything is loaded.

    Raises:
        ConfigError: wandb is asked for and not installed; see `log_options`.
    """
    asked = run.output.log_with
    if "wandb" in log_kinds(asked) and importlib.util.find_spec("wandb") is None:
        raise ConfigError(f"log_with: found {asked!r}, which needs wandb; pip install wandb, or use tensorboard")
    log_options(run.log)


def begin_logs(accelerator: Accelerator, run: RunConfig) -> None:
    """Open the logs that the run asks for.

    Raises:
        ConfigError: see `log_options`; a log refuses what the file tells it, or wandb has no key or no network.
    """
    told = run.log
    options = log_options(told)
    if "wandb" in log_kinds(run.output.log_with):
        options["wandb"] = _wandb_options(accelerator.project_dir, told.wandb_api_key, options.get("wandb", {}))
    settings = logged_settings(run) if told.with_settings else None
    try:
        with _key_hidden(told.wandb_api_key):
            accelerator.init_trackers(told.tracker_name or run.output.output_name, settings, options)
    except TypeError as error:
        if told.tracker_config is None:
            raise
        raise ConfigError(f"{told.tracker_config}: a log refuses this: {error}") from error
    except _errors_of_wandb() as error:
        reason = " ".join(str(error).split())
        advice = "with WANDB_MODE=offline it needs neither key nor network"
        raise ConfigError(f"log_with: wandb: {reason} ({advice})") from error
    for tracker in accelerator.trackers if accelerator.is_main_process else ():
        if tracker.name == "wandb":
            tracker.tracker.define_metric("*", step_metric=_STEP)


def _wandb_options(folder: str | os.PathLike[str] | None, key: str | None, told: dict[str, Any]) -> dict[str, Any]:
    """What wandb is told: the folder of the logs, and the key, which `wandb login` would write into the home folder."""
    options = dict(told)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        options.setdefault("dir", str(folder))
    if key is not None:
        options["settings"] = {"api_key": key, **options.get("settings", {})}
    return options


@contextmanager
def _key_hidden(key: str | None) -> Iterator[None]:
    """wandb publishes the command line of a run: here without the key."""
    words = list(sys.argv)
    if key:
        sys.argv[:] = [word.replace(key, "***") for word in words]
    try:
        yield
    finally:
        sys.argv[:] = words


def _errors_of_wandb() -> tuple[type[Exception], ...]:
    """What wandb raises at its user, if it is there."""
    return (sys.modules["wandb"].Error,) if "wandb" in sys.modules else ()


def log_numbers(accelerator: Accelerator, values: Mapping[str, float], step: int) -> None:
    """Write numbers of a step into every log.

    wandb drops what is logged behind its newest step, and each style of a museum begins at step 0; so the step is one
    of the values there, over which all others are drawn.
    """
    for tracker in accelerator.trackers:
        if tracker.name == "wandb":
            tracker.log({**values, _STEP: step})
        else:
            tracker.log(dict(values), step=step)


def log_picture(accelerator: Accelerator, name: str, picture: Image.Image, caption: str, step: int) -> None:
    """Show a preview at wandb, where that is among the logs."""
    for tracker in accelerator.trackers:
        if tracker.name == "wandb":
            shown = importlib.import_module("wandb").Image(picture, caption=caption)
            tracker.log({name: shown, _STEP: step})


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
