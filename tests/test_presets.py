"""Every shipped preset is a valid --config_file, says its command, and what it was measured to need."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "presets").glob("*.toml"))


def test_there_are_presets() -> None:
    assert (ROOT / "presets" / "demo.toml") in PRESETS


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_a_preset_parses_and_says_how_to_use_it(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = preset.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# python train_museum.py --config_file ")
    assert preset.relative_to(ROOT).as_posix() in lines[0]
    assert lines[1].startswith("# Measured: ")
    tomllib.loads("\n".join(lines))
    run = parse_command_line(["--config_file", str(preset)])
    assert run.base.path.is_dir()


def test_the_demo_teaches_three_styles_into_one_museum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = parse_command_line(["--config_file", "presets/demo.toml"])
    assert [style.name for style in run.styles] == ["ink", "neon", "mosaic"]
    assert run.output.museum is not None


def test_every_example_dataset_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for file in sorted((ROOT / "examples" / "styles").glob("*.toml")):
        run = parse_command_line(["--dataset_config", str(file), "--museum", "m.safetensors"])
        named = [style.name for style in run.styles]
        assert named == ([file.stem] if file.stem not in ("all", "demo") else named)
        assert len(named) == {"all": 8, "demo": 3}.get(file.stem, 1)
