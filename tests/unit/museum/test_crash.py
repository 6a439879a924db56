"""Runs that are killed or meet a full disk: the file is always the old museum or the new one, whole."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from museum_plugin.errors import OutputError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.history import history, rollback
from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord

KILLS = 100
FILE_OPERATIONS = {"open", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.scandir", "os.utime"}
TARGETS = tuple(f"lora_unet_{i}" for i in range(4))

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # the children use no thread
]


def museum(version: int) -> MuseumContent:
    """Every number in it is its version, so a mixture of two would show."""
    value = float(version)
    record = StyleRecord("a", "nlwx", ("nlwx",), (1,), "2026-01-02T03:04:05+00:00", version, 3, "ab", "museum", {}, {})
    ledger = Ledger("1" * 32, BaseRecord("f", "sd1", "epsilon", "x"), NetworkRecord(4, value, TARGETS), (record,))
    lora = {}
    for key in TARGETS:
        down, up, alpha = tensor_names(key)
        lora |= {down: torch.full((4, 2000), value), up: torch.full((2000, 4), value), alpha: torch.tensor(value)}
    return MuseumContent(lora, {"a": {"clip_l": torch.full((1, 64), value)}}, ledger)


def version_of(path: Path) -> int:
    """Reads the whole file; fails if it mixes two versions."""
    content = read_museum(path)
    version = content.ledger.styles[0].steps
    for tensor in (*content.lora.values(), content.slots["a"]["clip_l"]):
        assert bool((tensor == version).all())
    return version


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def in_child(action: Callable[[], str]) -> str:
    """Run in a forked process; what it returned, or "killed"."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            os.write(writing, action().encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    assert status == 0, "the child failed; see its traceback"
    return answer


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a kill spares what the system holds, so a disk would add only waiting."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


def kill_while_writing(path: Path, first_version: int, writes: int, delay: float) -> None:
    """Let a child write one version after the other; kill it `delay` seconds into its `writes`-th temporary file."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:

        def report(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and str(arguments[0]).endswith(".tmp"):
                os.write(writing, b".")

        try:
            torch.set_num_threads(1)
            sys.addaudithook(report)
            for version in range(first_version, first_version + 10_000):
                write_museum(path, museum(version), keep_history=3)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    for _ in range(writes):
        os.read(reading, 1)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child stopped by itself: its write failed"


def checked(path: Path, known: dict[tuple[int, str], int]) -> tuple[int, list[int]]:
    """Version of the museum and of all in its history, each a whole one; those in `known` are not read again."""
    kept = []
    for version in history(path):
        assert version.style_count == 1
        identity = version.path.stat().st_ino, version.path.name
        if identity not in known:
            known[identity] = version_of(version.path)
        kept.append(known[identity])
    return version_of(path), kept


def test_a_run_killed_at_any_moment_leaves_a_whole_museum(quick_folder: Path) -> None:
    path = quick_folder / "mine.safetensors"
    duration = 1.0
    for version in (1, 2, 3):
        started = time.monotonic()
        write_museum(path, museum(version), keep_history=3)
        duration = min(duration, time.monotonic() - started)
    rng = random.Random(0)
    current, mid_write, known = 3, 0, {}

    for _ in range(KILLS):
        kill_while_writing(path, current + 1, rng.choice((1, 2)), rng.uniform(0, duration) * rng.choice((0.03, 0.3, 1)))

        found, kept = checked(path, known)
        assert found >= current, "an older version came back"
        assert kept == sorted(set(kept)), "a version is kept twice, or out of order"
        assert kept[-1] in (found - 1, found), "the version before this one is lost"
        mid_write += bool(leftovers(quick_folder))
        current = found

    assert current > KILLS / 4, "the children hardly wrote"
    assert mid_write > KILLS / 10, "hardly any kill fell into a write"
    write_museum(path, museum(current + 1), keep_history=3)
    assert leftovers(quick_folder) == []
    found, kept = checked(path, {})
    assert (found, kept[-1], len(kept)) == (current + 1, current, 3)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("action", ["write", "rollback"])
def test_a_run_killed_before_each_of_its_file_operations(tmp_path: Path, action: str, links: bool) -> None:
    """The child kills itself at its n-th file operation, for n = 0, 1, ... until it gets through."""
    for version in (1, 2, 3):
        write_museum(tmp_path / "start" / "mine.safetensors", museum(version), keep_history=2)
    expected = {"write": 4, "rollback": 1}[action]
    for n in range(100):
        path = tmp_path / str(n) / "mine.safetensors"
        shutil.copytree(tmp_path / "start", path.parent)

        def act_and_die(path: Path = path, n: int = n) -> str:
            left = n

            def count(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal left
                if event == "os.link" and not links:
                    raise OSError(errno.EPERM, "no links here")
                if event in FILE_OPERATIONS:
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            if action == "write":
                write_museum(path, museum(4), keep_history=2)
            else:
                rollback(path, 1)
            return "done"

        done = in_child(act_and_die) == "done"  # else it was killed

        found, kept = checked(path, {})
        assert found in (3, expected)
        assert kept in ([1, 2], [1, 2, 3], [2, 3])
        assert 3 in (found, *kept)
        if done:
            assert found == expected
            assert kept == ([2, 3] if action == "write" else [1, 2, 3])
            assert leftovers(path.parent) == []
            break
        write_museum(path, museum(5), keep_history=9)
        assert leftovers(path.parent) == []
        assert checked(path, {})[1][-1] == found
    assert 5 < n < 99


@pytest.mark.parametrize("action", ["write", "rollback"])
def test_a_full_disk_leaves_the_old_museum(tmp_path: Path, action: str) -> None:
    path = tmp_path / "mine.safetensors"
    for version in (1, 2):
        write_museum(path, museum(version), keep_history=3)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def act_on_a_full_disk() -> str:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            if action == "write":
                write_museum(path, museum(3), keep_history=3)
            else:
                rollback(path, 1)
        except OutputError as error:
            return str(error)
        return "no error"

    message = in_child(act_on_a_full_disk)

    assert message.startswith(f"{path}: cannot be written: File too large; free some space")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
