"""A check is told everything that is wrong, where a run stops at the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import gather_command_line, parse_command_line
from museum_plugin.config.problems import Problems
from museum_plugin.errors import ConfigError

pytestmark = pytest.mark.usefixtures("run_folder")


def gathered(*argv: str) -> list[str]:
    problems = Problems(gather=True)
    gather_command_line(argv, problems)
    return [str(error) for error in problems.found]


def test_without_gathering_the_first_error_is_raised() -> None:
    problems = Problems()
    with pytest.raises(ConfigError, match="one"), problems:
        raise ConfigError("one")
    with pytest.raises(ConfigError, match="two"):
        problems.note(ConfigError("two"))
    assert problems.found == []


def test_gathered_errors_are_kept_once_and_other_exceptions_are_not() -> None:
    problems = Problems(gather=True)
    for told in ("one", "two", "one"):
        with problems:
            raise ConfigError(told)
    with pytest.raises(ZeroDivisionError), problems:
        raise ZeroDivisionError
    assert [str(error) for error in problems.found] == ["one", "two"]


def test_a_run_without_mistakes_is_read_as_always() -> None:
    problems = Problems(gather=True)
    argv = ["--dataset_config", "two.toml", "--museum", "m.safetensors", "--seed", "3"]
    assert gather_command_line(argv, problems) == parse_command_line(argv)
    assert problems.found == []


def test_every_flag_and_key_that_is_wrong_is_told() -> None:
    Path("run.toml").write_text("learnig_rate = 1\nseed = [1]\nconfig_file = 'b'\n", encoding="utf-8")
    found = gathered(
        "--config_file=run.toml", "--config_file=gone.toml", "--network_dim=0", "--network_alpha=-1",
        "--max_train_steps=x", "--vae_batch_size=-1", "--stepz=1", "--log_with=all", "--dataset_config=ukiyoe.toml",
        "--sample_prompts=gone.txt",
    )  # fmt: skip
    for told in (
        "run.toml: learnig_rate: unknown", "run.toml: seed: found [1]", "config file names no other", "gone.toml",
        "--network_dim: found 0", "--network_alpha: found -1", "--max_train_steps: found 'x'",
        "--vae_batch_size: found '-1'",
        "--stepz: unknown", "which needs --logging_dir", 'sample_prompts: no file "gone.txt"',
    ):  # fmt: skip
        assert [line for line in found if told in line], told
    assert len(found) == 11


def test_every_table_of_a_dataset_file_is_read() -> None:
    text = """
        [[datasets]]
        resolution = 64
        enable_buckets = true
        [[datasets.subsets]]
        image_dir = "gone"
        [[datasets.subsets]]
        image_dir = "img"
        num_repeats = "often"
        [[datasets]]
        resolution = 4
        [[datasets.subsets]]
        image_dir = "img"
        keep_tokens = -1
        [[datasets]]
        resolution = 64
        [[datasets.subsets]]
        image_dir = "img"
    """
    Path("wrong.toml").write_text(text, encoding="utf-8")
    problems = Problems(gather=True)
    run = gather_command_line(["--dataset_config=wrong.toml"], problems)
    found = [str(error) for error in problems.found]
    for told in (
        "'enable_buckets' is unknown",
        'no folder "gone"',
        "num_repeats: found 'often'",
        "keep_tokens: found -1",
    ):
        assert [line for line in found if told in line], told
    assert len(found) == 4
    assert len(run.styles[0].datasets) == 2  # what is left of the first one, and the last one


def test_pictures_that_cannot_be_cached_are_told_beside_the_rest() -> None:
    found = gathered("--dataset_config=ukiyoe.toml", "--cache_latents", "--random_crop", "--slot_lr=-1")
    assert any("random_crop" in line and "cache_latents" in line for line in found)
    assert "--slot_lr: found -1.0, must be 0 or more" in found


def test_flags_that_exclude_each_other_are_told_beside_the_rest() -> None:
    found = gathered(
        "--in_json=gone.json", "--network_train_unet_only", "--network_train_text_encoder_only", "--use_8bit_adam",
        "--use_lion_optimizer", "--network_args", "conv_dimm=3",
    )  # fmt: skip
    for told in ("gone.json", "cannot go with network_train_unet_only", "cannot go with use_lion_opt", "conv_dimm"):
        assert [line for line in found if told in line], told
    assert len(found) == 4


def test_subsets_with_and_without_a_metadata_file_are_told_beside_the_rest() -> None:
    Path("m.json").write_text("{}", encoding="utf-8")
    text = """
        [[datasets]]
        resolution = 64
        keep_tokens = "x"
        [[datasets.subsets]]
        image_dir = "img"
        metadata_file = "m.json"
        [[datasets.subsets]]
        image_dir = "img"
    """
    Path("mixed.toml").write_text(text, encoding="utf-8")
    found = gathered("--dataset_config=mixed.toml")
    assert ["cannot share" in found[1], "keep_tokens" in found[0], len(found)] == [True, True, 2]
