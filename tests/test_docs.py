"""The pages tell the truth: their links lead somewhere, their flags exist, their commands are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from museum_plugin.cli import COMMANDS
from museum_plugin.config.dataset_toml import KEYS, NOT_HONOURED
from museum_plugin.config.flags import BY_NAME
from museum_plugin.methods import METHODS, TERMS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_train_museum_flags_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"train_museum\.py((?:[^`\n\\]|\\\n)*)", text)
    flags = {flag for command in commands for flag in re.findall(r"--(\w+)", command)}
    assert not flags - set(BY_NAME) - {"config_file", "help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_exist(page: Path) -> None:
    named = re.findall(r"python -m museum_plugin ([a-z]+)\b", page.read_text(encoding="utf-8"))
    assert not set(named) - set(COMMANDS)


def test_the_method_page_names_every_method_and_term() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert not [name for name in (*METHODS, *TERMS) if f"`{name}`" not in text]


def test_the_dataset_page_names_every_key_with_its_place() -> None:
    text = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if line.startswith("| `")]
    places = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert places == {name: key.levels for name, key in KEYS.items()}
    assert not [name for name, key in NOT_HONOURED.items() if key.instead and f"`{name}`" not in text]


def test_the_readme_gives_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install -r requirements.txt && python train_museum.py --config_file presets/demo.toml" in lines
    assert "pip install -r requirements.txt -r requirements-dev.txt && python -m pytest" in lines
