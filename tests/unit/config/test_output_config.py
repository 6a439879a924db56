"""--output_config writes a command line down; a run of the file is that of the command line."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from museum_plugin.config.arguments import describe, parse_command_line
from museum_plugin.config.schema import LogConfig
from museum_plugin.errors import ConfigError

pytestmark = pytest.mark.usefixtures("run_folder")

COMMAND = [
    "--dataset_config=ukiyoe.toml",
    "--museum=a/mine.safetensors",
    "--learning_rate=2e-4",
    "--resolution=96,64",
    "--lr_warmup_steps=10%",
    "--optimizer_args",
    "betas=0.9,0.99",
    "weight_decay=0.1",
    "--term_weights",
    "function_lock=3",
    "--seed=0",
    "--flip_aug",
    "--save_every_n_steps=5",
    "--lowram",
]


def write(*more: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as left:
        parse_command_line([*COMMAND, "--output_config", *more])
    assert left.value.code == 0
    return tomllib.loads(Path("new.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["new.toml", "new"])
def test_only_what_is_not_at_its_default_is_written(name: str) -> None:
    written = write(f"--config_file={name}")
    assert set(written) == {
        *("dataset_config", "museum", "learning_rate", "resolution", "lr_warmup_steps"),
        *("optimizer_args", "term_weights", "flip_aug", "save_every_n_steps", "lowram"),
    }


def test_a_run_of_the_file_is_that_of_the_command_line() -> None:
    write("--config_file=new.toml")
    one, other = parse_command_line(COMMAND), parse_command_line(["--config_file=new.toml"])
    assert one == other
    assert describe(one) == describe(other)


def test_earlier_files_are_read_and_go_into_it() -> None:
    Path("old.toml").write_text("clip_skip = 2\nseed = 4\n", encoding="utf-8")
    written = write("--config_file=old.toml", "--config_file=new.toml")
    assert written["clip_skip"] == 2
    assert "seed" not in written, "the command line says 0, the default"


def test_a_file_that_is_there_is_not_overwritten() -> None:
    Path("new.toml").write_text("seed = 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="new.toml: is there already"):
        parse_command_line([*COMMAND, "--output_config", "--config_file=new.toml"])
    assert Path("new.toml").read_text(encoding="utf-8") == "seed = 3\n"


def test_it_needs_a_file() -> None:
    with pytest.raises(ConfigError, match="--output_config: needs --config_file"):
        parse_command_line([*COMMAND, "--output_config"])


def test_a_wrong_value_is_refused_and_nothing_is_written() -> None:
    with pytest.raises(ConfigError, match="--clip_skip"):
        parse_command_line([*COMMAND, "--clip_skip=x", "--output_config", "--config_file=new.toml"])
    assert not Path("new.toml").exists()


def test_a_key_is_written_nowhere() -> None:
    secret = "--wandb_api_key=k3y"
    assert "k3y" not in json.dumps(write("--config_file=new.toml", secret))
    run = parse_command_line([*COMMAND, secret])
    assert run.log.wandb_api_key == "k3y"
    assert "k3y" not in json.dumps(describe(run), default=str)
    assert "k3y" not in repr(run)
    assert replace(run.log, wandb_api_key=None) == LogConfig()


def test_what_is_done_instead_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "museum")
    parse_command_line(["--dataset_config=ukiyoe.toml", "--initial_epoch=2", "--save_model_as=ckpt", "--initial_step="])
    said = [message for message in caplog.messages if message.startswith(("initial", "save_model", "known"))]
    assert said == [
        "initial_epoch: a state holds its step, epoch and order of pictures: --resume goes on exactly there, "
        "nothing is skipped",
        "save_model_as: safetensors is always written: every WebUI reads it, and it can hold no program",
    ]
