"""Earlier versions of a museum file: nothing is lost, and each can be brought back."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from museum_plugin.errors import MuseumFileError, OutputError
from museum_plugin.museum.file import MuseumContent, read_ledger, write_museum
from museum_plugin.museum.history import history, history_folder, replace_file, rollback
from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord

WORDS = ("nlwx", "rctid", "bsgo", "coyi", "ssnhq", "nmwx")


def write(path: Path, styles: int, keep_history: int = 10) -> None:
    """A museum of so many styles; "style 1" is the first."""
    records = tuple(
        StyleRecord(f"style {i + 1}", w, (w,), (i,), "2026-01-02T03:04:05+00:00", 9, 3, "ab", "museum", {}, {})
        for i, w in enumerate(WORDS[:styles])
    )
    ledger = Ledger("1" * 32, BaseRecord("f", "sd1", "epsilon", "x"), NetworkRecord(2, 1.0, ("lora_unet_a",)), records)
    down, up, alpha = tensor_names("lora_unet_a")
    lora = {down: torch.ones(2, 3), up: torch.ones(3, 2), alpha: torch.tensor(1.0)}
    slots = {record.name: {"clip_l": torch.ones(1, 4)} for record in records}
    write_museum(path, MuseumContent(lora, slots, ledger), keep_history=keep_history)


def styles_of(path: Path) -> int:
    return len(read_ledger(path).styles)


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A museum of 4 styles; versions 1, 2 and 3 have as many styles as their number."""
    for styles in range(1, 5):
        write(tmp_path / "mine.v2.safetensors", styles)
    return tmp_path / "mine.v2.safetensors"


def test_versions_are_listed_oldest_first(four: Path) -> None:
    versions = history(four)
    assert [(v.number, v.style_count, v.last_style) for v in versions] == [
        (1, 1, "style 1"),
        (2, 2, "style 2"),
        (3, 3, "style 3"),
    ]
    assert [styles_of(v.path) for v in versions] == [1, 2, 3]
    assert all(timedelta(0) <= datetime.now(UTC) - v.time < timedelta(minutes=5) for v in versions)


def test_webuis_do_not_list_earlier_versions_as_loras(four: Path) -> None:
    assert history_folder(four) == four.with_name("mine.v2.history")
    assert {version.path.parent for version in history(four)} == {history_folder(four)}
    assert list(four.parent.rglob("*.safetensors")) == [four]


def test_the_oldest_versions_go_first(four: Path) -> None:
    write(four, 5, keep_history=2)
    assert [(v.number, v.style_count) for v in history(four)] == [(3, 3), (4, 4)]
    write(four, 6, keep_history=0)
    assert history(four) == []
    assert styles_of(four) == 6


def test_histories_of_neighbours_stay_apart(four: Path) -> None:
    neighbour = four.with_name("mine.safetensors")
    for styles in (5, 6):
        write(neighbour, styles, keep_history=1)
    assert [v.style_count for v in history(neighbour)] == [5]
    assert [v.style_count for v in history(four)] == [1, 2, 3]


def test_a_name_full_of_signs(tmp_path: Path) -> None:
    path = tmp_path / "my (best) [v2]+.safetensors"
    write(path, 1)
    write(path, 2)
    assert rollback(path, 1).style_count == 1
    assert styles_of(path) == 1


def test_rollback_to_a_number(four: Path) -> None:
    before = four.read_bytes()
    version = rollback(four, 2)
    assert (version.number, version.style_count) == (2, 2)
    assert four.read_bytes() == version.path.read_bytes()
    assert styles_of(four) == 2
    assert [v.style_count for v in history(four)] == [1, 2, 3, 4]
    assert history(four)[-1].path.read_bytes() == before


def test_rollback_takes_the_newest_and_a_second_one_takes_it_back(four: Path) -> None:
    assert rollback(four).style_count == 3
    assert styles_of(four) == 3
    assert rollback(four).style_count == 4
    assert styles_of(four) == 4


def test_a_version_that_was_brought_back_is_apart_from_its_copy(four: Path) -> None:
    version = rollback(four, 2)
    with four.open("r+b") as file:  # another tool writes in place
        file.truncate(9)
    assert styles_of(version.path) == 2


def test_training_goes_on_after_a_rollback_and_loses_nothing(four: Path) -> None:
    rollback(four, 1)
    write(four, 5)
    assert styles_of(four) == 5
    assert [v.style_count for v in history(four)] == [1, 2, 3, 4, 1]


@pytest.mark.parametrize("state", ["missing", "damaged"])
def test_rollback_of_a_museum_that_cannot_be_read(four: Path, state: str) -> None:
    if state == "missing":
        four.unlink()
    else:
        four.write_bytes(b"damaged")
    assert rollback(four).style_count == 3
    assert styles_of(four) == 3
    kept = history(four)
    assert [v.style_count for v in kept] == [1, 2, 3] + [None] * (state == "damaged")
    if state == "damaged":
        assert (kept[-1].path.read_bytes(), kept[-1].last_style) == (b"damaged", None)
        assert rollback(four).style_count == 2  # the newest is damaged, the one before is the file itself


def test_a_damaged_version_is_never_brought_back(four: Path) -> None:
    history(four)[1].path.write_bytes(history(four)[1].path.read_bytes()[:-1])
    before = four.read_bytes()
    with pytest.raises(MuseumFileError, match="mine.v2-0002.*damaged; versions that can be brought back: 1, 3"):
        rollback(four, 2)
    assert four.read_bytes() == before


def test_rollback_without_history(tmp_path: Path) -> None:
    write(tmp_path / "mine.safetensors", 1)
    with pytest.raises(MuseumFileError, match="no earlier version is kept; looked in .*mine.history"):
        rollback(tmp_path / "mine.safetensors")


def test_rollback_to_a_version_that_is_not_there(four: Path) -> None:
    with pytest.raises(MuseumFileError, match="no version 7; versions that can be brought back: 1, 2, 3"):
        rollback(four, 7)


def test_the_same_version_is_kept_once(four: Path) -> None:
    """As after a run that was killed when it had kept the version, but not yet replaced the file."""
    os.link(four, history_folder(four) / "mine.v2-0004.safetensors.bak")
    assert rollback(four).style_count == 3  # not the one that is the file itself
    assert [v.style_count for v in history(four)] == [1, 2, 3, 4]


def test_nothing_to_go_back_to(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write(path, 1)
    write(path, 2)
    write(path, 2)
    history(path)[0].path.unlink()
    with pytest.raises(MuseumFileError, match="no whole earlier version differs"):
        rollback(path)


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(four: Path) -> None:
    name = "0123456789abcdef" * 2
    mine = [four.with_name(f".{four.name}.{name}.tmp"), history_folder(four) / f".{four.name}.bak.{name}.tmp"]
    others = [four.with_name(f".other.safetensors.{name}.tmp"), four.with_name(f"{four.name}.tmp")]
    for path in (*mine, *others):
        path.write_bytes(b"half")
    write(four, 5)
    assert [path.exists() for path in (*mine, *others)] == [False, False, True, True]


def test_history_on_a_file_system_that_cannot_link(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    path = tmp_path / "mine.safetensors"
    folder = elsewhere / f"museum-test-{os.getpid()}"
    folder.mkdir()
    try:
        history_folder(path).symlink_to(folder)
        write(path, 1)
        written = path.stat().st_mtime_ns
        write(path, 2)
        write(path, 3, keep_history=1)
        write(path, 2)
        assert [v.style_count for v in history(path)] == [2, 3]
        assert sorted(os.listdir(folder)) == ["mine-0002.safetensors.bak", "mine-0003.safetensors.bak"]
        assert all(v.path.stat().st_mtime_ns > written for v in history(path))
        assert rollback(path, 3).style_count == 3
        os.utime(path, ns=(1, 10**18))
        write(path, 4)
        assert history(path)[-1].time == datetime.fromtimestamp(10**9, UTC)
    finally:
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()


def test_history_that_cannot_be_written_stops_the_write(four: Path) -> None:
    before = four.read_bytes()
    for version in history(four):
        version.path.unlink()
    history_folder(four).rmdir()
    history_folder(four).touch()
    with pytest.raises(OutputError, match="cannot be written: File exists"):
        write(four, 5)
    assert four.read_bytes() == before
    assert sorted(os.listdir(four.parent)) == ["mine.v2.history", "mine.v2.safetensors"]


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_return(
    four: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut cannot be tested; the order of the real calls can."""
    events: list[tuple[str, int]] = []
    sync, swap = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        sync(descriptor)
        events.append(("sync", os.fstat(descriptor).st_ino))

    def noted_replace(source: Path, target: Path) -> None:
        swap(source, target)
        events.append(("replace", os.stat(target).st_ino))

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(four, 5)

    file, folder, kept = (path.stat().st_ino for path in (four, four.parent, history_folder(four)))
    assert events == [("sync", file), ("sync", kept), ("replace", file), ("sync", folder)]


def test_a_negative_number_of_versions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep_history: found -1"):
        replace_file(tmp_path / "x", [b"x"], keep_history=-1)


def test_every_kind_of_bytes_is_written_in_order(tmp_path: Path) -> None:
    replace_file(tmp_path / "x", [b"ab", memoryview(b"xcd")[1:]], keep_history=None)
    assert (tmp_path / "x").read_bytes() == b"abcd"
