"""Which messages are shown, and how a stop that was asked for is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from museum_plugin.cli.console import run_reporting_errors, speak_as_told
from museum_plugin.errors import Interrupted, OutputError, StoppedAtOnce

LOGGER = logging.getLogger("museum")


@pytest.fixture(autouse=True)
def logger_as_before() -> Iterator[None]:
    before = LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)
    yield
    for handler in set(LOGGER.handlers) - set(before[2]):
        LOGGER.removeHandler(handler)
        handler.close()
    LOGGER.setLevel(before[0])
    LOGGER.propagate = before[1]


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (Interrupted("saved in x", 15), 143, "saved in x\n"),
        (Interrupted("saved in x"), 130, "saved in x\n"),
        (StoppedAtOnce("nothing begun", 15), 143, "nothing begun\n"),
        (StoppedAtOnce("", 1), 129, "as before\n"),
        (KeyboardInterrupt(), 130, "as before\n"),
    ],
)
def test_a_stop_that_was_asked_for_is_no_error(
    capsys: pytest.CaptureFixture[str], stop: BaseException, code: int, said: str
) -> None:
    def work() -> None:
        raise stop

    assert run_reporting_errors(work, when_stopped="as before") == code
    assert capsys.readouterr().err == said


def test_messages_below_a_level_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    speak_as_told("WARNING", None)
    LOGGER.info("small talk")
    LOGGER.warning("look out")
    assert caplog.messages == ["look out"]


def test_a_file_takes_the_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "logs" / "run.log"
    speak_as_told("INFO", file)
    LOGGER.info("style ink")
    assert file.read_text(encoding="utf-8").endswith(" INFO style ink\n")
    assert capsys.readouterr().err == ""


def test_a_log_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="console_log_file"):
        speak_as_told("INFO", tmp_path)
