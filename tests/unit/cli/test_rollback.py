"""`rollback`: what comes back, what is said, and that it can be undone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.museum.history import history, history_folder
from tests.unit.cli.museums import museum_command


def names_in(museum: Path) -> list[str]:
    return [record.name for record in ledger_of(museum).styles]


def test_back_and_forth_as_it_says(museum: Path) -> None:
    both = museum.read_bytes()
    done = museum_command("rollback", museum)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{museum} is version 1 again: 1 style, the newest is ink",
        "replaced: 2 styles, the newest is dots; it is kept as version 2",
        f"undo: python -m museum_plugin rollback {museum} --to 2",
    ]
    assert names_in(museum) == ["ink"]

    undo = done.stdout.splitlines()[-1].partition("museum_plugin ")[2].split()
    assert museum_command(*undo).returncode == 0
    assert museum.read_bytes() == both


def test_a_path_with_a_space_is_quoted(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = museum.parent.rename(museum.parent.with_name("my shelf"))
    assert main(["rollback", str(folder / museum.name)]) == 0
    assert f'rollback "{folder / museum.name}" --to 2' in capsys.readouterr().out


def test_the_version_asked_for_comes_back(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollback", str(museum)]) == 0
    assert main(["rollback", str(museum), "--to", "2"]) == 0
    assert names_in(museum) == ["ink", "dots"]
    assert main(["rollback", str(museum), "--to", "1"]) == 0
    assert names_in(museum) == ["ink"]
    capsys.readouterr()
    assert main(["rollback", str(museum), "--to", "9"]) == 5
    assert "no version 9; versions that can be brought back: 1" in capsys.readouterr().err


def test_the_list_changes_nothing(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = museum.read_bytes()
    assert main(["rollback", str(museum), "--list"]) == 0
    heading, version, now = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "version"
    assert re.fullmatch(r" *1  \d{4}-\d\d-\d\d \d\d:\d\d  1 +ink +[\d.]+ kB", version)
    assert now == "now: 2 styles, the newest is dots"
    assert museum.read_bytes() == before
    assert len(history(museum)) == 1


def test_a_list_without_versions(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(history_folder(museum))
    assert main(["rollback", str(museum), "--list"]) == 0
    assert capsys.readouterr().out == f"no earlier version is kept; looked in {history_folder(museum)}\n"


def test_a_damaged_file_is_replaced_and_no_undo_is_promised(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    museum.write_bytes(b"broken")
    assert main(["rollback", str(museum)]) == 0
    told = capsys.readouterr().out
    assert "replaced: a file that cannot be read as a museum; it is kept as version 2" in told
    assert "undo" not in told
    assert names_in(museum) == ["ink"]
    assert main(["rollback", str(museum), "--list"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert main(["rollback", str(museum), "--to", "2"]) == 5
    assert "damaged; versions that can be brought back: 1" in capsys.readouterr().err


def test_a_lost_file_comes_back(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    museum.unlink()
    assert main(["rollback", str(museum), "--list"]) == 0
    assert capsys.readouterr().out.endswith("now: no file\n")
    assert main(["rollback", str(museum)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["there was no file before"]
    assert names_in(museum) == ["ink"]
