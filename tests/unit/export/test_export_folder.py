"""A folder of ours is written whole or not at all, and nobody else's file is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from museum_plugin.errors import OutputError
from museum_plugin.export import folder as folder_module
from museum_plugin.export.folder import MANIFEST, write_folder

FILES = {"a.txt": [b"one", b" two"], "embeddings/b.bin": [memoryview(b"three")]}


def content(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def only(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.parent.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "mine-webui"


def test_files_are_written_with_their_folders(folder: Path) -> None:
    write_folder(folder, FILES)
    assert content(folder) == {"a.txt": b"one two", "embeddings/b.bin": b"three"}
    assert only(folder) == ["mine-webui"]


def test_an_earlier_export_is_replaced_and_its_other_files_go(folder: Path) -> None:
    write_folder(folder, FILES)
    write_folder(folder, {"a.txt": [b"new"]})
    assert content(folder) == {"a.txt": b"new"}
    assert only(folder) == ["mine-webui"]


def test_a_file_of_somebody_elses_stays(folder: Path) -> None:
    write_folder(folder, FILES)
    (folder / "embeddings" / "hers.bin").write_bytes(b"hers")
    write_folder(folder, {"a.txt": [b"new"]})
    assert content(folder) == {"a.txt": b"new", "embeddings/hers.bin": b"hers"}


@pytest.mark.parametrize("existing", ["a.txt", "embeddings/b.bin", "embeddings", MANIFEST])
def test_a_file_in_the_way_stops_it_unless_forced(folder: Path, existing: str) -> None:
    (folder / existing).parent.mkdir(parents=True)
    (folder / existing).write_bytes(b"hers")
    with pytest.raises(OutputError, match="not written by this command"):
        write_folder(folder, FILES)
    assert (folder / existing).read_bytes() == b"hers"
    assert only(folder) == ["mine-webui"]
    write_folder(folder, FILES, force=True)
    assert content(folder) == {"a.txt": b"one two", "embeddings/b.bin": b"three"}


def test_a_file_of_ours_that_was_changed_is_hers_now(folder: Path) -> None:
    write_folder(folder, FILES)
    (folder / "a.txt").write_bytes(b"edited")
    with pytest.raises(OutputError, match=r"a\.txt: not written by this command, or changed since"):
        write_folder(folder, FILES)
    assert (folder / "a.txt").read_bytes() == b"edited"


def test_a_folder_in_the_way_of_a_file_stops_it(folder: Path) -> None:
    (folder / "a.txt").mkdir(parents=True)
    (folder / "a.txt" / "hers").write_bytes(b"hers")
    with pytest.raises(OutputError, match="not written by this command"):
        write_folder(folder, FILES)


@pytest.mark.parametrize("broken", ["write", "first rename", "second rename"])
def test_a_failure_leaves_all_as_it_was(folder: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(folder, FILES)
    (folder / "hers.bin").write_bytes(b"hers")
    before = content(folder)
    real, calls = os.rename, []

    def rename(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == (1 if broken == "first rename" else 2):
            raise OSError(28, "No space left on device")
        real(source, target)

    def write(path: Path, parts: object) -> None:
        raise OSError(28, "No space left on device")

    if broken == "write":
        monkeypatch.setattr(folder_module, "_write", write)
    else:
        monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OutputError, match=r"mine-webui: cannot be written: No space left on device; free some space"):
        write_folder(folder, {"a.txt": [b"new"]})
    assert content(folder) == before
    assert only(folder) == ["mine-webui"]


def test_what_a_killed_call_left_is_mended(folder: Path) -> None:
    write_folder(folder, FILES)
    name = f".{folder.name}.{'0' * 32}"
    half = folder.with_name(f"{name}.tmp")
    half.mkdir()
    folder.rename(folder.with_name(f"{name}.old"))  # killed between the two renames
    (folder.with_name(f"{name}.old") / "hers").write_bytes(b"hers")
    write_folder(folder, {"a.txt": [b"new"]})
    assert content(folder) == {"a.txt": b"new", "hers": b"hers"}
    assert only(folder) == ["mine-webui"]


def test_a_link_to_a_folder_is_followed(folder: Path) -> None:
    folder.mkdir(parents=True)
    link = folder.with_name("link")
    link.symlink_to(folder)
    write_folder(link, FILES)
    assert link.is_symlink()
    assert content(folder)["a.txt"] == b"one two"


def test_a_file_where_the_folder_goes_is_told(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_bytes(b"hers")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        write_folder(folder, FILES)
    assert folder.read_bytes() == b"hers"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(folder: Path) -> None:
    folder.parent.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission denied; check the path and its permissions"):
        write_folder(folder, FILES)
