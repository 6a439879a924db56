"""What both entry points share: a quiet console, and errors as one or two lines with an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from museum_plugin.errors import Interrupted, MuseumError, OutputError

_TALKATIVE = ("xformers", "bitsandbytes", "diffusers", "transformers", "accelerate")


def run_reporting_errors(work: Callable[[], None], *, when_stopped: str) -> int:
    """Do the work; say what went wrong as the user can mend it.

    Args:
        when_stopped: said after Ctrl+C, where whoever stopped does not say it better.
    Returns:
        The exit code: 0, that of the error or of the signal (see `errors.py`).
    """
    _quiet_libraries()
    try:
        work()
        sys.stdout.flush()
    except Interrupted as stop:  # asked for, so no error
        print(stop, file=sys.stderr)
        return stop.exit_code
    except MuseumError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(str(stop) or when_stopped, file=sys.stderr)
        return int(getattr(stop, "exit_code", 130))
    except BrokenPipeError:  # `... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def speak_as_told(level: str, file: Path | None) -> None:
    """Show messages from a level on; with `file` they are written there instead.

    Raises:
        OutputError: the file cannot be written.
    """
    logger = logging.getLogger("museum")
    logger.setLevel(level)
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, mode="w", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"console_log_file: {file} cannot be written: {error.strerror or error}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False


def _quiet_libraries() -> None:
    """Our own messages are shown; other libraries speak only of errors. Before they are imported."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("museum").setLevel(logging.INFO)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
