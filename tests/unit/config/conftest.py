"""A folder to run in: one dataset file of a style without a name, one of a named style, one of two styles."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "img").mkdir()
    subset = '[[datasets.subsets]]\nimage_dir = "img"\n'
    (tmp_path / "ukiyoe.toml").write_text(f"[[datasets]]\nresolution = 64\n{subset}", encoding="utf-8")
    two = "".join(f'[[datasets]]\nresolution = 64\nstyle = "{name}"\n{subset}' for name in ("ink", "dots"))
    (tmp_path / "two.toml").write_text(two, encoding="utf-8")
    one = f'[[datasets]]\nresolution = 64\nstyle = "ink"\ntrigger = "nlwx"\n{subset}'
    (tmp_path / "one.toml").write_text(one, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
