"""Learning-rate schedules by sd-scripts' names, against values worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from museum_plugin.config.schema import OptimizerConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.optimizer import build_optimizer
from museum_plugin.train.schedule import build_schedule, check_schedule, try_schedule


def config(**changes: object) -> OptimizerConfig:
    return dataclasses.replace(OptimizerConfig(name="SGD"), **changes)  # type: ignore[arg-type]


def optimizer_of(given: OptimizerConfig, *rates: float) -> Optimizer:
    groups: list[dict[str, Any]] = [{"params": [nn.Parameter(torch.ones(3))], "lr": rate} for rate in rates]
    return build_optimizer(given, groups)


def rates_of(given: OptimizerConfig, *rates: float, steps: int = 4) -> list[list[float]]:
    """The rates of each group in every step."""
    optimizer = optimizer_of(given, *(rates or (1.0,)))
    scheduler = build_schedule(given, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def shares(given: OptimizerConfig, steps: int = 4) -> list[float]:
    return [rates[0] for rates in rates_of(given, steps=steps)]


def cosine(place: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * place))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "constant", "warmup_steps": 2}, [0, 0.5, 1, 1]),
        ({"schedule": "constant_with_warmup", "warmup_steps": 2}, [0, 0.5, 1, 1]),
        ({"schedule": "linear"}, [1, 0.75, 0.5, 0.25]),
        ({"schedule": "cosine"}, [1, 0.8536, 0.5, 0.1464]),
        ({"schedule": "cosine", "warmup_steps": 2}, [0, 0.5, 1, 0.5]),
        ({"schedule": "cosine_with_restarts", "schedule_cycles": 2}, [1, 0.5, 1, 0.5]),
        ({"schedule": "polynomial", "schedule_power": 2.0}, [1, 0.5625, 0.25, 0.0625]),
        ({"schedule": "polynomial"}, [1, 0.75, 0.5, 0.25]),
        ({"schedule": "inverse_sqrt", "warmup_steps": 1}, [0, 1, 2**-0.5, 3**-0.5]),
        ({"schedule": "inverse_sqrt", "schedule_timescale": 1}, [1, 2**-0.5, 3**-0.5, 0.5]),
        ({"schedule": "cosine_with_min_lr", "schedule_min_ratio": 0.2}, [0.2 + 0.8 * cosine(i / 4) for i in range(4)]),
        (
            {"schedule": "cosine_with_min_lr", "schedule_min_ratio": 0.2, "schedule_cycles": 2},
            [0.2 + 0.8 * cosine(i / 2) for i in range(4)],
        ),
        (
            {"schedule": "cosine_with_min_lr", "schedule_arguments": {"min_lr_rate": 0.2}},
            [0.2 + 0.8 * cosine(i / 4) for i in range(4)],
        ),
        ({"schedule": "warmup_stable_decay", "warmup_steps": 1, "decay_steps": 2}, [0, 1, 1, 0.5]),
        ({"schedule": "warmup_stable_decay", "decay_steps": 2, "schedule_min_ratio": 0.2}, [1, 1, 1, 0.6]),
        (
            {"schedule": "warmup_stable_decay", "decay_steps": 4, "schedule_arguments": {"decay_type": "linear"}},
            [1, 0.75, 0.5, 0.25],
        ),
        (
            {"schedule": "piecewise_constant", "schedule_arguments": {"step_rules": "1:1,0.1:3,0.01"}},
            [1, 0.1, 0.1, 0.01],
        ),
        ({"schedule_class": "StepLR", "schedule_arguments": {"step_size": 2, "gamma": 0.5}}, [1, 1, 0.5, 0.5]),
        (
            {"schedule_class": "torch.optim.lr_scheduler.ExponentialLR", "schedule_arguments": {"gamma": 0.5}},
            [1, 0.5, 0.25, 0.125],
        ),
    ],
    ids=str,
)
def test_a_schedule_gives_these_shares_of_the_rate(changes: dict[str, object], expected: list[float]) -> None:
    assert shares(config(**changes)) == pytest.approx(expected, abs=1e-4)


def test_shares_are_those_of_all_steps() -> None:
    counted = config(schedule="warmup_stable_decay", warmup_steps=1, decay_steps=2)
    assert shares(config(schedule="warmup_stable_decay", warmup_steps=0.25, decay_steps=0.5)) == shares(counted)
    assert shares(config(schedule="constant", warmup_steps=0.25), steps=8)[:3] == [0, 0.5, 1]


def test_a_schedule_moves_every_rate() -> None:
    assert rates_of(config(schedule="linear"), 1.0, 10.0) == [[1, 10], [0.75, 7.5], [0.5, 5.0], [0.25, 2.5]]


@pytest.mark.parametrize("name", ["none", "cosine "])
def test_a_schedule_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}', allowed: linear, cosine"):
        check_schedule(config(schedule=name))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schedule": "polynomial", "unet_learning_rate": 1e-9}, "lr_scheduler: polynomial refuses"),
        ({"schedule": "cosine", "schedule_arguments": {"powr": 2}}, "lr_scheduler_args: cosine refuses.*powr"),
        ({"schedule_class": "StepLR"}, "lr_scheduler: StepLR refuses.*step_size"),
        ({"schedule": "piecewise_constant", "schedule_arguments": {"step_rules": "a"}}, "piecewise_constant refuses"),
        ({"schedule": "warmup_stable_decay", "warmup_steps": 3, "decay_steps": 2}, "lr_decay_steps: found 2, which"),
    ],
)
def test_what_a_schedule_refuses(changes: dict[str, object], named: str) -> None:
    given = config(**changes)
    with pytest.raises(ConfigError, match=named):
        build_schedule(given, optimizer_of(given, given.unet_learning_rate), 4)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schedule_class": "Nothing"}, "'torch.optim.lr_scheduler' has nothing called 'Nothing'"),
        ({"schedule_class": "nowhere.Schedule"}, "pip install nowhere"),
        ({"schedule_class": "os.path"}, "is no schedule"),
        ({"schedule_class": "ReduceLROnPlateau"}, "wants to be told metrics in every step"),
        ({"schedule": "adafactor"}, "needs optimizer_type=Adafactor"),
    ],
)
def test_a_schedule_that_cannot_be_used(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_schedule(config(**changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schedule": "reduce_lr_on_plateau"}, "jumps with the noise level"),
        ({"schedule": "cosine_with_min_lr"}, "needs lr_scheduler_min_lr_ratio"),
        ({"schedule": "piecewise_constant"}, "needs lr_scheduler_args"),
        ({"schedule_cycles": 0}, "lr_scheduler_num_cycles: found 0, must be 1 or more"),
        ({"schedule_power": 0.0}, "lr_scheduler_power"),
        ({"schedule_timescale": 0}, "lr_scheduler_timescale"),
        ({"schedule_min_ratio": -0.1}, "lr_scheduler_min_lr_ratio"),
        ({"decay_steps": -1}, "lr_decay_steps"),
        ({"text_encoder_learning_rate": (0.1, -1.0)}, "text_encoder_lr: found -1.0"),
    ],
)
def test_an_impossible_setting_is_refused_at_birth(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        config(**changes)


def test_adafactors_schedule_shows_a_rate_and_leaves_it() -> None:
    shown = config(name="Adafactor", schedule="adafactor:0.25")
    assert shares(shown) == [0.25] * 4
    assert shares(config(name="Adafactor")) == [1e-4] * 4, "relative_step overrules any schedule, as in sd-scripts"
    told = config(name="Adafactor", arguments={"relative_step": False}, schedule="linear")
    assert shares(told) == [1, 0.75, 0.5, 0.25]


def test_a_schedule_free_optimizer_keeps_its_rate() -> None:
    pytest.importorskip("schedulefree")
    given = config(name="SGDScheduleFree", schedule="linear")
    optimizer = optimizer_of(given, 0.5)
    scheduler = build_schedule(given, optimizer, 4)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == [0.5]


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine_with_restarts", "schedule_cycles": 2},
        {"schedule": "warmup_stable_decay", "decay_steps": 2},
        {"schedule": "piecewise_constant", "schedule_arguments": {"step_rules": "1:1,0.1:3,0.01"}},
        {"schedule": "inverse_sqrt", "warmup_steps": 2},
        {"schedule_class": "OneCycleLR", "schedule_arguments": {"max_lr": 0.1, "total_steps": 8}},
        {"schedule_class": "CosineAnnealingWarmRestarts", "schedule_arguments": {"T_0": 3}},
        {"name": "Adafactor"},
    ],
    ids=str,
)
def test_a_schedule_resumes_exactly(changes: dict[str, object]) -> None:
    given = config(**changes)
    whole = rates_of(given, steps=6)
    optimizer = optimizer_of(given, 1.0)
    scheduler = build_schedule(given, optimizer, 6)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    buffer = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "schedule": scheduler.state_dict()}, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    again = optimizer_of(given, 1.0)
    resumed = build_schedule(given, again, 6)
    again.load_state_dict(state["optimizer"])
    resumed.load_state_dict(state["schedule"])
    found = []
    for _ in range(3):
        found.append([group["lr"] for group in again.param_groups])
        again.step()
        resumed.step()
    assert found == whole[3:]


@pytest.mark.parametrize(
    ("changes", "rates", "named"),
    [
        ({"arguments": {"betaz": 3}}, (0.1,), "optimizer_args: AdamW refuses"),
        ({"schedule": "polynomial"}, (1e-9,), "lr_scheduler: polynomial refuses"),
        ({"schedule_arguments": {"x": 3}}, (0.1,), "lr_scheduler_args: cosine refuses"),
        ({}, (0.0, 0.0), "nothing to train"),
        ({}, (), "nothing to train"),
    ],
)
def test_what_is_refused_is_known_before_there_are_parameters(
    changes: dict[str, object], rates: tuple[float, ...], named: str
) -> None:
    try_schedule(OptimizerConfig(), (0.1, 0.2), 4)
    with pytest.raises(ConfigError, match=named):
        try_schedule(OptimizerConfig(**changes), rates, 4)  # type: ignore[arg-type]
