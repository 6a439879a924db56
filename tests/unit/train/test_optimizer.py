"""Optimisers and schedules by sd-scripts' names."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from museum_plugin.config.schema import OptimizerConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.optimizer import OFFERED_SCHEDULES, build_optimizer, build_schedule, optimizer_class


def groups(*rates: float) -> list[dict[str, Any]]:
    return [{"params": [nn.Parameter(torch.ones(3))], "lr": rate} for rate in rates]


def config(**changes: object) -> OptimizerConfig:
    return dataclasses.replace(OptimizerConfig(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AdamW", "AdamW"),
        ("adamw", "AdamW"),
        ("", "AdamW"),
        ("SGDNesterov", "SGD"),
        ("Adafactor", "Adafactor"),
        ("AdamW8bit", "AdamW8bit"),
        ("pagedadamw", "PagedAdamW"),
        ("Lion8bit", "Lion8bit"),
        ("torch.optim.RMSprop", "RMSprop"),
    ],
)
def test_an_optimizer_is_known_by_name(name: str, expected: str) -> None:
    assert optimizer_class(name).__name__ == expected


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")
@pytest.mark.parametrize(
    "name", ["AdamW", "Adam", "SGD", "SGDNesterov", "Adafactor", "AdamW8bit", "PagedAdamW8bit", "Lion8bit",
             "PagedLion8bit", "SGDNesterov8bit"]
)  # fmt: skip
def test_an_optimizer_goes_down(name: str) -> None:
    given = groups(0.05)
    optimizer = build_optimizer(config(name=name), given)
    (parameter,) = given[0]["params"]
    for _ in range(3):
        parameter.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert parameter.square().sum() < 3


def test_groups_keep_their_rates_and_those_without_are_left_out() -> None:
    optimizer = build_optimizer(config(), [*groups(0.1, 0.0, 0.2), {"params": [], "lr": 1.0}])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
    with pytest.raises(ConfigError, match="every learning rate is 0"):
        build_optimizer(config(), groups(0.0))


def test_arguments_reach_the_optimizer() -> None:
    optimizer = build_optimizer(config(arguments={"betas": (0.5, 0.6), "weight_decay": 0.3}), groups(0.1))
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.6)
    assert optimizer.param_groups[0]["weight_decay"] == 0.3


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("AdamW", {"momentums": 1}, "refuses.*momentums"),
        ("AdamW", {"betas": 3}, "refuses"),
        ("AdamW", {"foreach": True, "fused": True}, "refuses.*fused"),
        ("os.path", {}, "refuses"),
    ],
)
def test_arguments_that_an_optimizer_refuses(name: str, arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build_optimizer(config(name=name, arguments=arguments), groups(0.1))


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("Adm", "allowed: AdamW"),
        ("nowhere.Adam", "pip install nowhere"),
        ("torch.optim.Nothing", "has nothing called 'Nothing'"),
        (".Adam", "has nothing called 'Adam'"),
        ("LBFGS", "AdamW is the usual choice"),
        ("SparseAdam", "AdamW is the usual choice"),
    ],
)
def test_an_optimizer_that_is_not_there(name: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        optimizer_class(name)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, [1, 1, 1, 1]),
        ("constant", 2, [0, 0.5, 1, 1]),
        ("linear", 0, [1, 0.75, 0.5, 0.25]),
        ("cosine", 0, [1, 0.8536, 0.5, 0.1464]),
        ("cosine", 2, [0, 0.5, 1, 0.5]),
    ],
)
def test_a_schedule_moves_every_rate(schedule: str, warmup: int, expected: list[float]) -> None:
    optimizer = build_optimizer(config(name="SGD"), groups(1.0, 10.0))
    scheduler = build_schedule(config(schedule=schedule, warmup_steps=warmup), optimizer, 4)
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr())
        optimizer.step()
        scheduler.step()
    assert [rate[0] for rate in rates] == pytest.approx(expected, abs=1e-4)
    assert [rate[1] for rate in rates] == pytest.approx([10 * share for share in expected], abs=1e-3)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "piecewise_constant", "none"])
def test_a_schedule_that_is_not_there(schedule: str) -> None:
    with pytest.raises(ConfigError, match=f"'{schedule}', allowed: linear, cosine"):
        build_schedule(config(schedule=schedule), build_optimizer(config(), groups(0.1)), 4)


def test_a_rate_that_is_too_small_for_its_schedule() -> None:
    with pytest.raises(ConfigError, match="polynomial"):
        build_schedule(config(schedule="polynomial"), build_optimizer(config(), groups(1e-9)), 4)


def test_the_schedules_on_offer_are_those_that_need_no_more_than_a_name() -> None:
    from diffusers.optimization import SchedulerType

    assert {kind.value for kind in SchedulerType} - {"piecewise_constant"} == set(OFFERED_SCHEDULES)
