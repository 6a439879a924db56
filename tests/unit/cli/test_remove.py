"""`remove`: what goes, what is said, and that it can be undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.history import history
from museum_plugin.train.museum_file import museum_lock
from tests.unit.cli.museums import SLOT_WORDS


def test_a_style_goes_and_comes_back(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = museum.read_bytes()
    assert main(["remove", str(museum), "ink"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{museum}: ink is removed, 1 style left; its trigger {SLOT_WORDS['ink']} is retired",
        "the shared LoRA is unchanged: the other styles draw as before, bit for bit",
        f"undo: python -m museum_plugin rollback {museum}",
    ]
    assert list(read_museum(museum).slots) == ["dots"]
    assert history(museum)[-1].path.read_bytes() == before
    assert main(["list", str(museum)]) == 0
    assert main(["show", str(museum)]) == 0
    out = capsys.readouterr().out
    assert f"ink    {SLOT_WORDS['ink']}" in out[out.index("\nremoved\n") :]
    assert main(["rollback", str(museum)]) == 0
    assert museum.read_bytes() == before


def test_of_the_newest_the_version_before_is_named(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", str(museum), "dots"]) == 0
    assert f"rollback {museum} --to 1" in capsys.readouterr().out
    assert main(["show", str(museum)]) == 0
    out = capsys.readouterr().out
    assert "without dots  0.60" in out  # what ink scored last, beside its score when it was learned
    assert main(["list", str(museum)]) == 0
    assert "0.60          0.80  75 %" in capsys.readouterr().out


def test_another_file_can_take_the_result(museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, other = museum.read_bytes(), tmp_path / "other.safetensors"
    assert main(["remove", str(museum), "ink", f"--output={other}"]) == 0
    assert "undo" not in capsys.readouterr().out
    assert museum.read_bytes() == before
    assert [record.name for record in ledger_of(other).styles] == ["dots"]
    assert main(["remove", str(museum), "dots", f"--output={other}"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_mistakes_change_nothing(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = museum.read_bytes()
    assert main(["remove", str(museum), "inkk"]) == 5
    assert "no style 'inkk' in this museum; did you mean \"ink\"?" in capsys.readouterr().err
    with museum_lock(museum):
        assert main(["remove", str(museum), "ink"]) == 5
    assert museum.read_bytes() == before
    assert len(history(museum)) == 1
    assert main(["remove", str(museum), "ink"]) == 0
    assert main(["remove", str(museum), "dots"]) == 2
    assert "the only one" in capsys.readouterr().err
