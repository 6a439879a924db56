"""What can be known to fail fails before anything is trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import (
    BaseConfig,
    DatasetConfig,
    LossConfig,
    MethodConfig,
    NetworkConfig,
    OptimizerConfig,
    OutputConfig,
    PreviewConfig,
    ReplayConfig,
    RunConfig,
    SlotConfig,
    StyleData,
    SubsetConfig,
    TrainingConfig,
)
from museum_plugin.errors import ConfigError, OutputError
from museum_plugin.train.start import check_run, learning_rates


def run_config(folder: Path, **changes: object) -> RunConfig:
    style = StyleData("ink", "zorvex", (DatasetConfig((SubsetConfig(folder),), (64, 64)),))
    parts = {
        "base": BaseConfig(folder),
        "styles": (style,),
        "network": NetworkConfig(),
        "slot": SlotConfig(),
        "optimizer": OptimizerConfig(),
        "loss": LossConfig(),
        "method": MethodConfig(),
        "replay": ReplayConfig(),
        "training": TrainingConfig(),
        "preview": PreviewConfig(),
        "output": OutputConfig(folder / "out", "mine", folder / "museums" / "mine.safetensors"),
    }
    return RunConfig(**{**parts, **changes})  # type: ignore[arg-type]


def test_a_run_that_can_begin_makes_its_folders_and_leaves_nothing_in_them(tmp_path: Path) -> None:
    check_run(run_config(tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["museums", "out"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"method": MethodConfig("x")}, "method: found 'x'"),
        ({"optimizer": OptimizerConfig("x")}, "optimizer_type: found 'x'"),
        ({"optimizer": OptimizerConfig(schedule="x")}, "lr_scheduler: found 'x'"),
        ({"optimizer": OptimizerConfig(arguments={"momentums": 1})}, "optimizer_args: AdamW refuses"),
        ({"optimizer": OptimizerConfig(unet_learning_rate=0), "slot": SlotConfig(learning_rate=0)}, "nothing to train"),
    ],
)
def test_names_that_nobody_knows(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_run(run_config(tmp_path, **changes))


def test_half_precision_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_config(tmp_path, base=BaseConfig(tmp_path, mixed_precision="fp16"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_run(run)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'fp16', which needs a GPU"):
        check_run(run)


def test_a_log_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    run = run_config(tmp_path, output=OutputConfig(tmp_path, "mine", log_with="wandb", logging_dir=logs))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        check_run(run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    check_run(run)


@pytest.mark.parametrize("place", ["output_dir", "museum", "logging_dir"])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    file = tmp_path / "a file"
    file.write_text("", encoding="utf-8")
    where = {
        "output_dir": tmp_path / "out",
        "museum": tmp_path / "m",
        "logging_dir": tmp_path / "l",
        place: file / "sub",
    }
    with pytest.raises(OutputError, match="a file.*cannot be written"):
        check_run(run_config(tmp_path, output=OutputConfig(output_name="mine", log_with="tensorboard", **where)))


def test_where_errors_are_gathered_all_are_found_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    output = OutputConfig(tmp_path / "file" / "out", "mine", tmp_path / "museums" / "mine.safetensors")
    run = run_config(tmp_path, method=MethodConfig("x"), optimizer=OptimizerConfig("y"), output=output)
    problems = Problems(gather=True)

    check_run(run, problems)

    told = [str(error) for error in problems.found]
    assert len(told) == 3
    for part in ("method: found 'x'", "optimizer_type: found 'y'", "file/out/mine.safetensors: cannot be written"):
        assert [line for line in told if part in line], part
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


@pytest.mark.parametrize(
    ("network", "museum", "rates"),
    [
        (NetworkConfig(), True, (1e-4, 5e-3)),
        (NetworkConfig(), False, (1e-4,)),
        (NetworkConfig(train_text_encoder=True), True, (1e-4, 1e-4, 5e-3)),
        (NetworkConfig(train_unet=False, train_text_encoder=True), False, (1e-4,)),
    ],
)
def test_the_learning_rates_of_what_is_trained(
    tmp_path: Path, network: NetworkConfig, museum: bool, rates: tuple[float, ...]
) -> None:
    optimizer = OptimizerConfig(text_encoder_learning_rate=1e-4)
    output = OutputConfig(tmp_path, "mine", tmp_path / "mine.safetensors" if museum else None)
    assert learning_rates(run_config(tmp_path, network=network, optimizer=optimizer, output=output)) == rates
