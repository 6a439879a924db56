"""How a run is asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from museum_plugin.errors import StoppedAtOnce
from museum_plugin.train.stop import StopRequest

NUMBERS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_a_request_and_the_old_handlers_come_back(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in NUMBERS]
    with StopRequest().listening() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert (stop.asked, stop.number) == (True, number)
    assert [signal.getsignal(each) for each in NUMBERS] == before
    assert "stopping after this step" in capfd.readouterr().err


@pytest.mark.parametrize("second", NUMBERS)
def test_a_second_signal_of_any_kind_stops_at_once(second: signal.Signals) -> None:
    with StopRequest().listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(StoppedAtOnce) as stopped:
            signal.raise_signal(second)
    assert stopped.value.exit_code == 128 + second
    assert isinstance(stopped.value, KeyboardInterrupt)


def test_where_there_is_nothing_to_save_the_first_signal_stops_right_there() -> None:
    done = []

    def prepare(stop: StopRequest) -> None:
        with stop.at_once("nothing begun"):
            done.append(1)
            signal.raise_signal(signal.SIGTERM)
            done.append(2)

    with StopRequest().listening() as stop, pytest.raises(StoppedAtOnce, match="nothing begun") as stopped:
        prepare(stop)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert done == [1]


def test_a_request_from_before_is_heeded_where_there_is_nothing_to_save() -> None:
    with StopRequest().listening() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StoppedAtOnce, match="nothing begun") as stopped, stop.at_once("nothing begun"):
            pytest.fail("goes on")
    assert stopped.value.exit_code == 128 + signal.SIGTERM


def test_after_at_once_a_signal_is_a_request_again() -> None:
    with StopRequest().listening() as stop:
        with stop.at_once("nothing begun"):
            pass
        signal.raise_signal(signal.SIGINT)
        assert stop.asked


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_nohup_is_heeded() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest().listening() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(os.name != "posix", reason="needs file descriptors of POSIX")
def test_a_terminal_that_is_gone_does_not_end_the_run() -> None:
    """What is printed after it goes nowhere, so that the state can still be saved."""
    script = (
        "import os, signal, sys\n"
        "from museum_plugin.train.stop import StopRequest\n"
        "reading, writing = os.pipe()\n"
        "os.close(reading)\n"
        "os.dup2(writing, 2)\n"
        "with StopRequest().listening() as stop:\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('saving', file=sys.stderr, flush=True)\n"
        "sys.exit(7 if stop.asked else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 7
