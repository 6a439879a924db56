"""What the typed configuration refuses at birth."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RESERVED_STYLE_NAMES, ReplayConfig, StyleData, SubsetConfig
from museum_plugin.errors import ConfigError


@pytest.mark.parametrize("name", ["a/b", "..", "", "x" * 64, "line\nbreak", *RESERVED_STYLE_NAMES])
def test_a_style_name_that_cannot_name_files_or_columns_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="style"):
        StyleData(name, "auto", ())


@pytest.mark.parametrize("name", ["ukiyoe", "van Gogh 2", "浮世絵", "a.b-c_d+e", None])
def test_ordinary_style_names_pass(name: str | None) -> None:
    assert StyleData(name, "auto", ()).name == name


@pytest.mark.parametrize("name", ["random_crop = true", "color_aug = true", "face_crop_aug_range = [2, 4]"])
@pytest.mark.parametrize("cache", ["cache_latents", "cache_latents_to_disk"])
def test_pictures_that_differ_in_every_step_cannot_be_cached(name: str, cache: str, tmp_path: Path) -> None:
    dataset = tmp_path / "data.toml"
    dataset.write_text(f'[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "{tmp_path}"\n{name}\n')
    command = ["--dataset_config", str(dataset)]
    parse_command_line(command)
    with pytest.raises(ConfigError, match=name.split()[0]):
        parse_command_line([*command, f"--{cache}"])


def test_masks_that_would_not_be_used_are_refused(tmp_path: Path) -> None:
    dataset = tmp_path / "data.toml"
    dataset.write_text(
        f'[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "{tmp_path}"\n'
        f'conditioning_data_dir = "{tmp_path}"\n'
    )
    command = ["--dataset_config", str(dataset)]
    assert parse_command_line([*command, "--masked_loss"]).loss.masked_loss
    with pytest.raises(ConfigError, match=r"conditioning_data_dir .*--masked_loss"):
        parse_command_line(command)


def test_tags_need_something_to_split_at() -> None:
    with pytest.raises(ConfigError, match="caption_separator"):
        SubsetConfig(Path("pictures"), caption_separator="")


@pytest.mark.parametrize(
    ("pictures", "anchors", "weight"),
    [(1, [0, 1, 0, 1], 2), (2, [1, 1, 1, 1], 1), (3, [1, 2, 1, 2], 1), (4, [2, 2, 2, 2], 1), (8, [4, 4, 4, 4], 1)],
)
def test_there_is_an_anchor_for_two_pictures_unless_their_number_is_given(
    pictures: int, anchors: list[int], weight: float
) -> None:
    usual, told = ReplayConfig(), ReplayConfig(batch_size=5)
    assert [usual.anchors_at(pictures, number) for number in range(4)] == anchors
    assert usual.weight_at(pictures) == weight
    assert [told.anchors_at(pictures, number) for number in range(4)] == [5] * 4
    assert told.weight_at(pictures) == 1


@pytest.mark.parametrize(("styles", "each"), [(0, 32), (1, 32), (6, 32), (7, 27), (20, 9), (1000, 1)])
def test_old_styles_share_the_limit_of_the_bank(styles: int, each: int) -> None:
    assert ReplayConfig(per_style=32, limit=192).latents_each(styles) == each


def test_no_latents_are_drawn_where_none_were_asked_for() -> None:
    assert ReplayConfig(per_style=0).latents_each(3) == 0
