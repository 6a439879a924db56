"""Flags of how long a run lasts, what it saves, shows and says reach their fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.errors import ConfigError

pytestmark = pytest.mark.usefixtures("run_folder")

FLAGS: list[tuple[list[str], str, object]] = [
    (["--lr_warmup_steps", "10%", "--max_train_epochs", "5"], "optimizer.warmup_steps", 0.1),
    (["--lr_decay_steps", "20%", "--max_train_epochs", "5"], "optimizer.decay_steps", 0.2),
    (["--lr_decay_steps", "3", "--max_train_epochs", "5"], "optimizer.decay_steps", 3),
    (["--max_train_epochs", "7"], "training.epochs", 7),
    (["--max_train_epochs", "0"], "training.epochs", None),
    (["--skip_nonfinite", "3"], "training.skip_nonfinite", 3),
    (["--sample_every_n_epochs", "2"], "preview.every_n_epochs", 2),
    (["--sample_sampler", "k_euler_a"], "preview.sampler", "k_euler_a"),
    (["--sample_at_first"], "preview.at_first", True),
    (["--save_every_n_epochs", "9"], "output.save_every_n_epochs", 9),
    (["--save_n_epoch_ratio", "3"], "output.save_n_epoch_ratio", 3),
    (["--save_last_n_steps", "4"], "output.save_last_n_steps", 4),
    (["--save_last_n_epochs", "4"], "output.save_last_n_epochs", 4),
    (["--save_last_n_steps_state", "4"], "output.save_last_n_steps_state", 4),
    (["--save_last_n_epochs_state", "4"], "output.save_last_n_epochs_state", 4),
    (["--save_state"], "output.save_state", True),
    (["--save_state_on_train_end"], "output.save_state_on_train_end", True),
    (["--resume", "a-state"], "output.resume", Path("a-state")),
    (["--log_prefix", "a-"], "log.prefix", "a-"),
    (["--log_tracker_name", "mine"], "log.tracker_name", "mine"),
    (["--wandb_run_name", "first"], "log.wandb_run_name", "first"),
    (["--wandb_api_key", "k3y"], "log.wandb_api_key", "k3y"),
    (["--console_log_level", "ERROR"], "log.console_level", "ERROR"),
    (["--console_log_file", "a.log"], "log.console_file", Path("a.log")),
    (["--metadata_title", "T"], "metadata.title", "T"),
    (["--metadata_author", "A"], "metadata.author", "A"),
    (["--metadata_description", "D"], "metadata.description", "D"),
    (["--metadata_license", "L"], "metadata.license", "L"),
    (["--metadata_tags", "a, b"], "metadata.tags", "a, b"),
    (["--training_comment", "C"], "metadata.comment", "C"),
    (["--no_metadata"], "metadata.no_metadata", True),
    (["--save_precision", "fp16"], "metadata.precision", "fp16"),
]


@pytest.mark.parametrize(("argv", "field", "value"), FLAGS, ids=lambda x: x if isinstance(x, str) else None)
def test_every_flag_reaches_its_field(argv: list[str], field: str, value: object) -> None:
    section, name = field.split(".")
    run = parse_command_line(["--dataset_config", "ukiyoe.toml", *argv])
    assert getattr(getattr(run, section), name) == value


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--skip_nonfinite=-1", "--skip_nonfinite: found -1, must be 0 or more"),
        ("--max_train_epochs=-1", "--max_train_epochs: found '-1'"),
        ("--save_precision=fp32", "--save_precision: found 'fp32', allowed: float, fp16, bf16"),
        ("--console_log_level=LOUD", "--console_log_level: found 'LOUD', allowed: DEBUG, INFO"),
        ("--sample_sampler=eulr", 'did you mean "euler"'),
    ],
)
def test_what_cannot_be_meant_is_refused(flag: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_command_line(["--dataset_config", "ukiyoe.toml", flag])
    assert named in str(error.value)
