"""What can be known to fail fails before anything is trained."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from museum_plugin.config.schema import (
    BaseConfig,
    DatasetConfig,
    LogConfig,
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
from museum_plugin.train import start
from museum_plugin.train.start import check_run, make_accelerator


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


def test_the_key_and_the_name_of_a_run_go_to_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb is not among the requirements: a module in its place notes what it is told."""
    told: list[object] = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=lambda key: told.append(key)))
    monkeypatch.setattr(
        start, "Accelerator", lambda **_: SimpleNamespace(init_trackers=lambda *a, **k: told.extend([a, k]))
    )
    output = OutputConfig(tmp_path, "mine", log_with="wandb", logging_dir=tmp_path)

    make_accelerator(run_config(tmp_path, output=output, log=LogConfig(wandb_api_key="k3y", wandb_run_name="first")))

    assert told == ["k3y", ("mine",), {"init_kwargs": {"wandb": {"name": "first"}}}]
