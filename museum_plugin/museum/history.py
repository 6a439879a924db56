"""Earlier versions of a museum file, and how a file is replaced without ever being half written.

The versions of `mine.safetensors` lie in `mine.history/` as `mine-0001.safetensors.bak`, ...: the last suffix keeps
WebUIs that search folders from listing them as LoRAs.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open

from museum_plugin.config.files import unwritable
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.metadata import LEDGER_KEY

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class Version:
    """One earlier version of a museum file."""

    number: int
    """Counts up from 1; a number is not given again while its version is kept."""
    path: Path
    time: datetime
    """When it was written; UTC."""
    style_count: int | None
    """None: this version is damaged."""
    last_style: str | None
    """None: it has no style yet, or is damaged."""


def history_folder(path: Path) -> Path:
    """Where the earlier versions of a museum file are kept; beside the real file if `path` is a link to it."""
    real = _real(path)
    return real.with_name(f"{real.stem}.history")


def history(path: Path) -> list[Version]:
    """The kept versions of a museum file, oldest first; the file itself is not among them."""
    return [_version(number, kept) for number, kept in _kept(_real(path))]


def previous_version(path: Path) -> Version | None:
    """The newest whole version that differs from the museum file; None where none is kept."""
    for version in reversed(history(path)):
        if version.style_count is not None and not _same(version.path, _real(path)):
            return version
    return None


def rollback(path: Path, version: int | None = None) -> Version:
    """Bring an earlier version back in place of a museum file; the file that was there becomes the newest version.

    Args:
        path: the museum file; it may be missing or damaged.
        version: its number in `history`; None takes the newest whole one that differs from the file, so that a
            second rollback takes the first one back.
    Returns:
        the version that was brought back; it stays in the history.
    Raises:
        MuseumFileError: no history, no such version, or a damaged one.
        OutputError: nothing can be written; the file is untouched.
    """
    chosen = _chosen(path, version)
    try:
        content = chosen.path.read_bytes()
    except OSError as error:
        raise MuseumFileError(f"{chosen.path}: cannot be read: {error.strerror}") from error
    replace_file(path, [content], keep_history=None)
    return chosen


def replace_file(path: Path, parts: Sequence[bytes | memoryview], *, keep_history: int | None) -> None:
    """Write a file whole or not at all; the one it replaces goes to the history.

    One run at a time writes a museum: what other runs left behind half written is removed.

    Args:
        path: its folder is created; a link is followed.
        parts: the bytes, in order.
        keep_history: how many earlier versions stay, the oldest go first; 0 keeps none, None keeps all.
    Raises:
        OutputError: disk full, no permission and the like; the file is untouched.
        ValueError: keep_history < 0.
    """
    if keep_history is not None and keep_history < 0:
        raise ValueError(f"keep_history: found {keep_history}, must be 0 or more")
    real = _real(path)
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        if real.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _remove_leftovers(real)
        with _written(real, parts) as temporary:
            if keep_history != 0 and real.exists():
                _preserve(real)
            os.replace(temporary, real)
    except OSError as error:
        raise unwritable(path, error, "an earlier file there is unchanged") from error
    _sync_folder(real.parent)
    if keep_history is not None:
        _prune(real, keep_history)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _kept(real: Path) -> list[tuple[int, Path]]:
    pattern = re.compile(rf"{re.escape(real.stem)}-(\d+){re.escape(real.suffix)}\.bak")
    try:
        found = [(pattern.fullmatch(entry.name), entry) for entry in history_folder(real).iterdir()]
    except OSError:  # no such folder, or none that can be read
        return []
    return sorted((int(match[1]), entry) for match, entry in found if match)


def _version(number: int, kept: Path) -> Version:
    time = datetime.fromtimestamp(kept.stat().st_mtime, UTC)
    try:
        with safe_open(kept, "pt") as file:  # refuses a file that is cut short
            styles = Ledger.from_json(file.metadata()[LEDGER_KEY]).styles
    except (SafetensorError, MuseumFileError, OSError, KeyError, TypeError):
        return Version(number, kept, time, None, None)
    return Version(number, kept, time, len(styles), styles[-1].name if styles else None)


def _chosen(path: Path, version: int | None) -> Version:
    kept = history(path)
    if not kept:
        raise MuseumFileError(f"{path}: no earlier version is kept; looked in {history_folder(path)}")
    numbers = ", ".join(str(each.number) for each in kept if each.style_count is not None) or "none"
    if version is None:
        if (found := previous_version(path)) is not None:
            return found
        raise MuseumFileError(f"{path}: no whole earlier version differs from it; looked in {history_folder(path)}")
    for each in kept:
        if each.number == version and each.style_count is None:
            raise MuseumFileError(f"{each.path}: this version is damaged; versions that can be brought back: {numbers}")
        if each.number == version:
            return each
    raise MuseumFileError(f"{path}: no version {version}; versions that can be brought back: {numbers}")


def _same(one: Path, other: Path) -> bool:
    """Whether both hold the same bytes; never by time stamps, which two quick writes may share."""
    if not other.is_file():
        return False
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _preserve(real: Path) -> None:
    folder = history_folder(real)
    folder.mkdir(exist_ok=True)
    newest, newest_path = max(_kept(real), default=(0, real))
    if newest and _same(newest_path, real):
        return  # a run was killed after it had kept this version
    target = folder / f"{real.stem}-{newest + 1:04d}{real.suffix}.bak"
    try:
        os.link(real, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, or another one
        stat = real.stat()
        with _written(target, [real.read_bytes()]) as temporary:
            os.utime(temporary, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            os.replace(temporary, target)
    _sync_folder(folder)


def _prune(real: Path, keep: int) -> None:
    kept = _kept(real)
    for _, old in kept[: max(len(kept) - keep, 0)]:
        with suppress(OSError):  # the museum itself is already safe
            old.unlink()


@contextmanager
def _written(target: Path, parts: Sequence[bytes | memoryview]) -> Iterator[Path]:
    """A temporary file beside the target, its bytes on the disk; removed at the end if it is still there."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remove_leftovers(real: Path) -> None:
    for folder in (real.parent, history_folder(real)):
        if not folder.is_dir():
            continue
        for entry in folder.iterdir():
            match = _TEMPORARY.fullmatch(entry.name)
            if match and (match["name"] == real.name or folder != real.parent):
                with suppress(OSError):
                    entry.unlink()


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
