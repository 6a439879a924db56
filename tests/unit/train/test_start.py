"""What can be known to fail fails before anything is trained."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from museum_plugin.base.load import BaseModel
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
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.store import content_of
from museum_plugin.train.start import (
    check_run,
    learning_rates,
    open_or_begin,
    with_noise_schedule,
)
from tests.tiny_museums import tiny_museum


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
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for asked in ("all", "wandb"):
        run = run_config(tmp_path, output=OutputConfig(tmp_path, "mine", log_with=asked, logging_dir=logs))
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


def test_a_schedule_is_tried_on_as_many_steps_as_the_run_has(tmp_path: Path) -> None:
    """With epochs those are not known before the pictures are counted."""
    longer = OptimizerConfig(schedule="warmup_stable_decay", decay_steps=TrainingConfig().steps + 1)
    check_run(run_config(tmp_path, optimizer=longer, training=TrainingConfig(epochs=1)))
    with pytest.raises(ConfigError, match="lr_decay_steps: found 1601, which .* the 1600 steps"):
        check_run(run_config(tmp_path, optimizer=longer))


def test_options_that_change_nothing_alone_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_run(run_config(tmp_path, loss=LossConfig(noise_offset_random_strength=True)))
    assert caplog.messages == ["noise_offset_random_strength changes nothing without noise_offset"]


@pytest.mark.parametrize(
    ("prediction_type", "loss", "named"),
    [
        ("epsilon", LossConfig(zero_terminal_snr=True), "zero_terminal_snr: only for base models that predict v, and"),
        ("epsilon", LossConfig(scale_v_pred_loss_like_noise_pred=True), "scale_v_pred_loss_like_noise_pred: only"),
        ("v_prediction", LossConfig(v_pred_like_loss=0.1), "v_pred_like_loss: only for base models that predict eps"),
        ("epsilon", LossConfig(min_timestep=1000), "min_timestep: found 1000, but tiny has 1000 timesteps, 0 to 999"),
        ("epsilon", LossConfig(max_timestep=1001), "max_timestep: found 1001, but tiny has 1000 timesteps"),
    ],
)
def test_what_a_base_cannot_be_trained_with(
    base: BaseModel, prediction_type: str, loss: LossConfig, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        with_noise_schedule(replace(base, prediction_type=prediction_type), loss)


def test_the_schedule_is_the_bases_own_unless_another_is_asked_for(base: BaseModel) -> None:
    usual = LossConfig(min_timestep=999, max_timestep=1000, v_pred_like_loss=0.1)
    assert with_noise_schedule(base, usual) is base
    of_v = replace(base, prediction_type="v_prediction")
    rescaled = with_noise_schedule(of_v, LossConfig(zero_terminal_snr=True, scale_v_pred_loss_like_noise_pred=True))
    assert rescaled.alphas_cumprod[-1] == 0


def test_a_museum_of_another_schedule_is_told(
    base: BaseModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.safetensors"
    museum = tiny_museum(base, "ink")
    write_museum(path, content_of(museum), keep_history=0)
    shape = NetworkConfig(museum.ledger.network.rank, museum.ledger.network.alpha)
    output = OutputConfig(tmp_path, "m", path)
    open_or_begin(run_config(tmp_path, network=shape, output=output), base)
    assert caplog.messages == []
    open_or_begin(run_config(tmp_path, network=shape, output=output, loss=LossConfig(zero_terminal_snr=True)), base)
    assert [message.partition(",")[0] for message in caplog.messages] == ["zero_terminal_snr: found true"]


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
