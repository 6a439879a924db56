"""Every error a user can meet. Each message says in one or two lines what is wrong, where, and what to do.

MuseumError            exit code 1; the command line prints the message, never a traceback
├── ConfigError        2   a flag, a config file or a dataset file
├── DataError          3   a picture or a caption
├── BaseModelError     4   the base model
├── MuseumFileError    5   a museum file: damaged, of another base, of another shape
├── TrainingError      6   the training itself
│   └── NotFiniteError     a loss or a gradient that is not finite
├── OutputError        7   nothing can be written: disk full, no permission
├── GateError          8   the museum after a style lost too much; the one before stays, the new one is beside it
├── NoRoomError        9   memory ran out; the state after the last whole step is saved
└── Interrupted    128+n   stopped by signal n (130: Ctrl+C, 143: SIGTERM) after everything was saved

StoppedAtOnce        128+n   a KeyboardInterrupt: stopped where there was nothing to save, or by a second signal
"""

import signal


class MuseumError(Exception):
    """The root: anything that is the user's to mend."""

    exit_code = 1


class ConfigError(MuseumError):
    """A flag, config file or dataset file is wrong; raised before any model is loaded."""

    exit_code = 2


class DataError(MuseumError):
    """A picture or a caption cannot be used; names the file."""

    exit_code = 3


class BaseModelError(MuseumError):
    """The base model cannot be loaded or is of an unknown kind."""

    exit_code = 4


class MuseumFileError(MuseumError):
    """A museum file is damaged, too new, or belongs to another base or shape."""

    exit_code = 5


class TrainingError(MuseumError):
    """Training cannot go on; nothing of the failed step was kept."""

    exit_code = 6


class NotFiniteError(TrainingError):
    """A loss or gradient of a step is not finite; the weights are those of the step before."""


class OutputError(MuseumError):
    """A file cannot be written; the previous one is untouched."""

    exit_code = 7


class GateError(MuseumError):
    """The museum after a style falls short of the gate: the one before is untouched, the new one is kept beside it."""

    exit_code = 8


class NoRoomError(MuseumError):
    """The memory ran out; says what is saved, and what needs less."""

    exit_code = 9

    def __init__(self, message: str, blocks: int = 0) -> None:
        """`blocks`: of the U-Net, that can be swapped; 0: not known yet."""
        super().__init__(message)
        self.blocks = blocks


class Interrupted(MuseumError):
    """Stopped on request; says what was saved and how to go on."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        """`number`: of the signal that asked; the exit code is 128 more, as shells count."""
        super().__init__(message)
        self.exit_code = 128 + number


class StoppedAtOnce(KeyboardInterrupt):
    """Stopped on request right where it was: no `except Exception` may take it for a failure."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        """`message`: what became of the run; "" where only the caller knows."""
        super().__init__(message)
        self.exit_code = 128 + number
