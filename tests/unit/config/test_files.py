"""A file is written whole or not at all, also when the run is stopped in the midst of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from museum_plugin.config.files import unwritable, write_atomically
from museum_plugin.errors import OutputError, StoppedAtOnce


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_stopped_while_writing_the_earlier_file_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "mine.unfinished.pt"
    write_atomically(path, b"before")

    def stop(*_: object) -> None:
        raise StoppedAtOnce

    monkeypatch.setattr(os, moment, stop)
    with pytest.raises(StoppedAtOnce):
        write_atomically(path, b"after")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path, b"a folder is there")
    assert list(tmp_path.iterdir()) == []
    assert [entry.name for entry in tmp_path.parent.iterdir() if entry.name.endswith(".tmp")] == []


def test_a_full_disk_asks_for_space_and_other_trouble_for_a_look() -> None:
    full, closed = OSError(errno.ENOSPC, "No space left"), OSError(errno.EACCES, "Permission denied")
    assert str(unwritable(Path("a"), full, "b stays")) == (
        "a: cannot be written: No space left; free some space (b stays)"
    )
    assert str(unwritable(Path("a"), closed)) == (
        "a: cannot be written: Permission denied; check the path and its permissions"
    )
