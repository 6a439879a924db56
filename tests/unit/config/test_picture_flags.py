"""Flags about pictures reach the schema, from the command line and from a config file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.config.arguments import describe, parse_command_line
from museum_plugin.config.convert import to_range
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import ConfigError


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    for name in ("img", "masks"):
        (tmp_path / name).mkdir()
    Path("data.toml").write_text('[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "img"\n')
    return ["--dataset_config=data.toml"]


def value_of(run: RunConfig, section: str, name: str) -> object:
    dataset = run.styles[0].datasets[0]
    owner = {"dataset": dataset, "subset": dataset.subsets[0]}.get(section) or getattr(run, section)
    return getattr(owner, name)


FLAGS = [
    ("resize_interpolation=box", "subset", "resize_interpolation", "box"),
    ("face_crop_aug_range=2.0,4", "subset", "face_crop_aug_range", (2.0, 4.0)),
    ("skip_image_resolution=512", "dataset", "skip_image_resolution", (512, 512)),
    ("skip_image_resolution=512,768", "dataset", "skip_image_resolution", (512, 768)),
    ("alpha_mask=true", "subset", "alpha_mask", True),
    ("masked_loss=true", "loss", "masked_loss", True),
    ("validation_split=0.1", "dataset", "validation_split", 0.1),
    ("validation_seed=7", "dataset", "validation_seed", 7),
    ("validate_every_n_steps=50", "training", "validate_every_n_steps", 50),
    ("validate_every_n_epochs=2", "training", "validate_every_n_epochs", 2),
    ("max_validation_steps=9", "training", "max_validation_steps", 9),
    ("max_data_loader_n_workers=0", "training", "reader_threads", 0),
]


@pytest.mark.parametrize(("flag", "section", "name", "value"), FLAGS)
def test_a_flag_fills_its_field(command: list[str], flag: str, section: str, name: str, value: object) -> None:
    assert value_of(parse_command_line(command), section, name) != value
    run = parse_command_line([*command, f"--{flag}"])
    assert value_of(run, section, name) == value
    key, _, text = flag.partition("=")
    Path("run.toml").write_text(f"[any]\n{key} = {json.dumps(text)}\n")
    assert value_of(parse_command_line([*command, "--config_file=run.toml"]), section, name) == value
    json.dumps(describe(run))
    assert describe(run)[key] != describe(parse_command_line(command))[key]


def test_masks_may_be_named_by_a_flag_and_lie_beside_the_file_that_names_them(command: list[str]) -> None:
    run = parse_command_line([*command, "--conditioning_data_dir=masks", "--masked_loss"])
    assert value_of(run, "subset", "conditioning_data_dir") == Path("masks")
    Path("deep/masks").mkdir(parents=True)
    Path("deep/data.toml").write_text(Path("data.toml").read_text() + 'conditioning_data_dir = "only_here"\n')
    Path("deep/only_here").mkdir()
    run = parse_command_line(["--dataset_config=deep/data.toml", "--masked_loss"])
    assert value_of(run, "subset", "conditioning_data_dir") == Path("deep/only_here")


def test_what_needs_no_honouring_is_said_or_silent(command: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "museum"):
        parse_command_line([*command, "--skip_cache_check", "--persistent_data_loader_workers"])
    said = [line for line in caplog.messages if "pocket model" not in line and "plain LoRA" not in line]
    assert said == ["skip_cache_check: cached latents are found by content and always checked, which takes no time"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("resize_interpolation=lanzcos", 'resize_interpolation: found .*did you mean "lanczos"'),
        ("face_crop_aug_range=2", r"face_crop_aug_range: found '2', allowed: \[2.0, 4.0\]"),
        ("face_crop_aug_range=4,2", r"face_crop_aug_range: found \(4.0, 2.0\), must be two numbers above 0"),
        ("skip_image_resolution=a", "skip_image_resolution: found 'a', allowed: 512"),
        ("max_data_loader_n_workers=65", "max_data_loader_n_workers: found 65, must lie between 0 and 64"),
        ("validation_split=1", "validation_split: found 1.0, must be 0 or more and below 1"),
    ],
)
def test_an_impossible_value_is_refused(command: list[str], flag: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_command_line([*command, f"--{flag}"])


@pytest.mark.parametrize("value", ["1,2", [1, 2], (1, 2.0), "1.0, 2.0"])
def test_a_range_is_two_numbers(value: object) -> None:
    assert to_range(value, "x") == (1.0, 2.0)


@pytest.mark.parametrize("value", ["1", "1,2,3", "a,b", [1], [1, "x"], 3, None, True, {"a": 1}])
def test_anything_else_is_no_range(value: object) -> None:
    with pytest.raises(ConfigError, match="x: found"):
        to_range(value, "x")
