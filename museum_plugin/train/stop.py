"""How a run is asked to stop: Ctrl+C, SIGTERM, or the end of the terminal (SIGHUP)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from museum_plugin.errors import StoppedAtOnce

_STOPPING = b"\nstopping after this step, then everything is saved; Ctrl+C again stops at once\n"


class StopRequest:
    """Whether a signal asked the run to stop; it does so after the step it is in, or at once where nothing is lost."""

    def __init__(self) -> None:
        self.asked = False
        self.number: int = signal.SIGINT
        """The signal that asked."""
        self._nothing_to_save: str | None = None

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """While inside, the first signal is a request; a second one, of whatever kind, stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # Python tells signals to the main thread alone
            return
        before = {number: signal.getsignal(number) for number in _numbers()}
        for number in before:
            signal.signal(number, self._ask)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self, message: str) -> Iterator[None]:
        """While inside there is nothing to save: a signal, also one from before, stops right where it is.

        Raises:
            StoppedAtOnce: with the message.
        """
        before, self._nothing_to_save = self._nothing_to_save, message
        try:
            self._stop_if_asked()
            yield
            self._stop_if_asked()
        finally:
            self._nothing_to_save = before

    def _stop_if_asked(self) -> None:
        if self.asked:
            raise StoppedAtOnce(self._nothing_to_save or "", self.number)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        again = self.asked
        self.asked, self.number = True, number
        if again or self._nothing_to_save is not None:
            _tell(b"\n")
            raise StoppedAtOnce(self._nothing_to_save or "", number)
        _tell(_STOPPING)


def _tell(text: bytes) -> None:
    try:
        os.write(2, text)  # print() may not interrupt itself
    except OSError:  # the terminal is gone; what is still to be said may not end the run
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)


def _numbers() -> list[signal.Signals]:
    """The signals that ask; not SIGHUP where it is ignored, as under `nohup`."""
    hang_up = getattr(signal, "SIGHUP", None)
    heeded = [] if hang_up is None or signal.getsignal(hang_up) == signal.SIG_IGN else [hang_up]
    return [signal.SIGINT, signal.SIGTERM, *heeded]
