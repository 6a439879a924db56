"""The flags of captions and of where they are found."""

from __future__ import annotations

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RunConfig

pytestmark = pytest.mark.usefixtures("run_folder")


def parse(*argv: str) -> RunConfig:
    return parse_command_line(["--dataset_config", "ukiyoe.toml", *argv])


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--caption_extention", "txt"], "caption_extension", ".txt"),
        (["--caption_extention", ".a", "--caption_extension", ".b"], "caption_extension", ".b"),
        (["--dataset_repeats", "7"], "num_repeats", 7),
        (["--keep_tokens_separator", "|||"], "keep_tokens_separator", "|||"),
        (["--secondary_separator", ";;;"], "secondary_separator", ";;;"),
        (["--enable_wildcard"], "enable_wildcard", True),
        (["--token_warmup_min", "2"], "token_warmup_min", 2),
        (["--token_warmup_step", "0.5"], "token_warmup_step", 0.5),
        (["--caption_dropout_every_n_epochs", "3"], "caption_dropout_every_n_epochs", 3),
    ],
)
def test_flags_of_captions_are_defaults_of_the_dataset_file(argv: list[str], name: str, value: object) -> None:
    assert getattr(parse(*argv).styles[0].datasets[0].subsets[0], name) == value


def test_a_cache_that_is_not_kept_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert parse("--cache_info").styles == parse().styles
    assert "cache_info: captions and sizes are read anew at every start, so that none is out of date" in caplog.messages


def test_an_empty_folder_counts_as_not_given(caplog: pytest.LogCaptureFixture) -> None:
    assert parse("--reg_data_dir", "", "--in_json", "").styles == parse().styles
    assert not [message for message in caplog.messages if "ignored" in message]
