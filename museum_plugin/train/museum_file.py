"""The file a run grows: one run at a time, and never over what somebody else has put there meanwhile."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from museum_plugin.errors import MuseumFileError, OutputError
from museum_plugin.museum.file import WHOLE, FileForm, MuseumContent, write_museum

log = logging.getLogger("museum")


class MuseumFile:
    """A museum file (or plain LoRA), and whether it is still the one that the run knows."""

    def __init__(self, path: Path) -> None:
        """Remember what is at `path` now; before it is read."""
        self.path = path
        self._known = _digest(path)

    def save(self, content: MuseumContent, *, keep_history: int, form: FileForm = WHOLE) -> Path:
        """Write the museum; a file that was there goes to its history.

        Where another program has changed the file since this run opened or wrote it, the museum is written beside it,
        and further saves go there too.

        Returns:
            where it was written.
        Raises:
            TrainingError, OutputError: as `write_museum`; what was there is untouched.
        """
        if self.path.exists() and _digest(self.path) != self._known:
            beside = _free_path(self.path, "conflict")
            log.warning(
                "%s was changed by another program while this run taught; nothing of it was overwritten: "
                "the result of this run is in %s",
                self.path,
                beside,
            )
            self.path = beside
        write_museum(self.path, content, keep_history=keep_history, form=form)
        self._known = _digest(self.path)
        return self.path

    def save_beside(self, content: MuseumContent, *, form: FileForm = WHOLE) -> Path:
        """Write a museum that does not pass the gate as NAME.refused-N.safetensors; the museum itself is untouched.

        Returns:
            where it was written.
        Raises:
            TrainingError, OutputError: as `write_museum`.
        """
        beside = _free_path(self.path, "refused")
        write_museum(beside, content, keep_history=0, form=form)
        return beside


@contextmanager
def museum_lock(path: Path) -> Iterator[None]:
    """While inside, no other run can teach this museum; the system frees the lock of a process that was killed.

    Raises:
        MuseumFileError: another run holds it.
        OutputError: the lock file cannot be written.
    """
    lock = FileLock(f"{os.path.realpath(path)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MuseumFileError(
            f"{path}: another run is teaching this museum (it holds {lock.lock_file}); wait until it has ended"
        ) from error
    except NotImplementedError:
        log.warning("%s: this file system has no locks; take care that one run at a time teaches this museum", path)
    except OSError as error:
        raise OutputError(f"{lock.lock_file}: cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _free_path(path: Path, label: str) -> Path:
    """NAME.LABEL-1.safetensors, or the next number that is not taken."""
    candidates = (path.with_name(f"{path.stem}.{label}-{n}{path.suffix}") for n in itertools.count(1))
    return next(candidate for candidate in candidates if not candidate.exists())


def _digest(path: Path) -> str | None:
    """sha256 of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # none, or one that cannot be read; opening it says so
        return None
