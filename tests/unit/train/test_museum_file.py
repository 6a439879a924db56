"""One run at a time grows a museum, and never over what somebody else put there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from museum_plugin.errors import MuseumFileError, OutputError
from museum_plugin.museum.file import MuseumContent, read_museum
from museum_plugin.museum.history import history
from museum_plugin.train.museum_file import MuseumFile, museum_lock
from tests.unit.museum.museum_files import museum as museum_of
from tests.unit.museum.museum_files import style

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom museum_plugin.train.museum_file import museum_lock\n"
    "with museum_lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def content(styles: int) -> MuseumContent:
    words = ("nlwx", "rctid", "coyi")
    return museum_of(*(style(f"style {i}", word) for i, word in enumerate(words[:styles])))


def test_a_second_run_is_refused_at_once(tmp_path: Path) -> None:
    museum = tmp_path / "mine.safetensors"
    with museum_lock(museum):
        begun = time.monotonic()
        with pytest.raises(MuseumFileError, match="another run is teaching this museum"), museum_lock(museum):
            pytest.fail("two runs at once")
        assert time.monotonic() - begun < 1
        with museum_lock(tmp_path / "another.safetensors"):
            pass
    with museum_lock(museum):
        pass


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_is_the_same_museum(tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "mine.safetensors")
    with (
        museum_lock(tmp_path / "mine.safetensors"),
        pytest.raises(MuseumFileError, match="another run"),
        museum_lock(tmp_path / "link.safetensors"),
    ):
        pytest.fail("two runs at once")


def test_the_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    museum = tmp_path / "mine.safetensors"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(museum)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(MuseumFileError, match="another run"), museum_lock(museum):
            pytest.fail("two runs at once")
        other.kill()
        assert other.wait() != signal.SIGINT
    with museum_lock(museum):
        pass


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(OutputError, match="cannot be locked"), museum_lock(tmp_path / "a file" / "mine.safetensors"):
        pytest.fail("locked")


def test_the_file_that_was_opened_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    file = MuseumFile(path)
    assert file.save(content(styles=1), keep_history=5) == path
    assert file.save(content(styles=2), keep_history=5) == path
    assert MuseumFile(path).save(content(styles=3), keep_history=5) == path
    assert [version.style_count for version in history(path)] == [1, 2]


@pytest.mark.parametrize("was_there", [True, False])
def test_a_file_that_somebody_else_wrote_is_not_replaced(
    tmp_path: Path, was_there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path, taken = tmp_path / "mine.safetensors", tmp_path / "mine.conflict-1.safetensors"
    taken.write_bytes(b"of an earlier run")
    if was_there:
        MuseumFile(path).save(content(styles=1), keep_history=0)
    file = MuseumFile(path)
    path.write_bytes(b"another program's")

    written = file.save(content(styles=2), keep_history=5)

    assert written == tmp_path / "mine.conflict-2.safetensors"
    assert len(read_museum(written).ledger.styles) == 2
    assert path.read_bytes() == b"another program's"
    assert taken.read_bytes() == b"of an earlier run"
    assert str(written) in caplog.text
    assert file.save(content(styles=3), keep_history=5) == written, "the run goes on beside"
    assert [version.style_count for version in history(written)] == [2]


def test_a_file_that_is_gone_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    MuseumFile(path).save(content(styles=1), keep_history=0)
    file = MuseumFile(path)
    path.unlink()
    assert file.save(content(styles=2), keep_history=0) == path
