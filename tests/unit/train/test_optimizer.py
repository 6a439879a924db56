"""Optimisers by sd-scripts' names."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import torch
from torch import nn

from museum_plugin.config.schema import NetworkArguments, NetworkConfig, OptimizerConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.optimizer import (
    averaged,
    build_optimizer,
    check_optimizer,
    is_schedule_free,
    optimizer_class,
    take_average,
)


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
        ("nadam", "NAdam"),
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


OPTIONAL = {
    "lion_pytorch": ["Lion"],
    "prodigyopt": ["Prodigy"],
    "dadaptation": ["DAdaptation", "DAdaptAdamPreprint", "DAdaptAdaGrad", "DAdaptAdam", "DAdaptAdan", "DAdaptAdanIP",
                    "DAdaptLion", "DAdaptSGD"],
    "schedulefree": ["AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree"],
}  # fmt: skip
"""Package that need not be there -> sd-scripts' names of its optimizers."""
PAIRS = [(package, name) for package, names in OPTIONAL.items() for name in names]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("package", "name"), PAIRS)
def test_an_optimizer_of_another_package_goes_down_and_resumes_exactly(package: str, name: str) -> None:
    pytest.importorskip(package)
    rate = 0.1 if name == "Lion" else 1.0
    one, other = groups(rate, rate), groups(rate, rate)

    def steps(optimizer: torch.optim.Optimizer, given: list[dict[str, Any]], count: int) -> None:
        for _ in range(count):
            sum(parameter.square().sum() for group in given for parameter in group["params"]).backward()
            optimizer.step()
            optimizer.zero_grad()

    unbroken = build_optimizer(config(name=name.lower()), one)
    steps(unbroken, one, 6)
    broken = build_optimizer(config(name=name.upper()), other)
    steps(broken, other, 3)
    again = [{"params": [nn.Parameter(p.detach().clone()) for p in group["params"]], "lr": rate} for group in other]
    resumed = build_optimizer(config(name=name), again)
    resumed.load_state_dict(broken.state_dict())
    steps(resumed, again, 3)
    for optimizer in (unbroken, resumed):
        take_average(optimizer)

    (expected,), (found,) = one[0]["params"], again[0]["params"]
    assert torch.equal(found, expected)
    assert expected.square().sum() < 3


@pytest.mark.parametrize(("package", "name"), PAIRS)
def test_a_package_that_is_missing_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    for module in [package, *(known for known in sys.modules if known.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"'{name}' needs the package .*: pip install {package.replace('_', '-')}$"):
        optimizer_class(name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("package", "name"), [("prodigyopt", "Prodigy"), ("dadaptation", "dadaptation.DAdaptAdam")])
def test_an_optimizer_that_estimates_its_step_takes_the_first_rate_for_all(
    package: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip(package)
    caplog.set_level("INFO", "museum")
    optimizer = build_optimizer(config(name=name), groups(1.0, 5e-3))
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 1.0]
    assert "takes one learning rate for all, slots included: 1 is used" in caplog.text
    assert "1 is usual" not in caplog.text
    build_optimizer(config(name=name), groups(1e-4))
    assert "0.0001: 1 is usual" in caplog.text


def test_adafactor_finds_its_rates_unless_told_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "museum")
    own = build_optimizer(config(name="adafactor"), groups(0.1, 0.2))
    assert type(own).__module__ == "transformers.optimization"
    assert [group["lr"] for group in own.param_groups] == [None, None]
    assert own.param_groups[0]["relative_step"] is True
    assert "relative_step=False" in caplog.text
    told = build_optimizer(config(name="Adafactor", arguments={"relative_step": False}), groups(0.1, 0.2))
    assert [group["lr"] for group in told.param_groups] == [0.1, 0.2]
    warm = build_optimizer(config(name="Adafactor", arguments={"relative_step": False, "warmup_init": True}), groups(1))
    assert warm.param_groups[0]["relative_step"] is True


def test_lora_plus_cannot_go_with_one_rate_for_all() -> None:
    network = NetworkConfig(arguments=NetworkArguments(loraplus_unet_lr_ratio=4.0))
    check_optimizer(config(), network)
    check_optimizer(config(name="Adafactor", arguments={"relative_step": False}), network)
    with pytest.raises(ConfigError, match="loraplus_lr_ratio cannot go with optimizer_type Adafactor"):
        check_optimizer(config(name="Adafactor"), network)
    check_optimizer(config(name="Adafactor"), NetworkConfig())


def test_norms_cannot_be_limited_behind_an_average() -> None:
    pytest.importorskip("schedulefree")
    check_optimizer(config(), NetworkConfig(scale_weight_norms=1.0))
    with pytest.raises(ConfigError, match="scale_weight_norms: cannot go with optimizer_type AdamWScheduleFree"):
        check_optimizer(config(name="AdamWScheduleFree"), NetworkConfig(scale_weight_norms=1.0))


def test_numbers_of_a_usual_optimizer_are_left_alone() -> None:
    given = groups(0.1)
    optimizer = build_optimizer(config(), given)
    assert not is_schedule_free(optimizer)
    with averaged(optimizer):
        assert torch.equal(given[0]["params"][0], torch.ones(3))
    take_average(optimizer)


@pytest.mark.parametrize("name", OPTIONAL["schedulefree"])
def test_a_schedule_free_optimizer_gives_its_average_and_goes_on_bit_for_bit(name: str) -> None:
    pytest.importorskip("schedulefree")
    given, undisturbed = groups(0.3), groups(0.3)
    (parameter,), (other,) = given[0]["params"], undisturbed[0]["params"]
    looked_at, plain = (build_optimizer(config(name=name), g) for g in (given, undisturbed))
    for _ in range(9):
        for optimizer, moved in ((looked_at, parameter), (plain, other)):
            (moved * torch.tensor([1.0, 2.0, 3.0])).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        trained = parameter.detach().clone()
        with averaged(looked_at):
            average = parameter.detach().clone()
        assert torch.equal(parameter, trained)
        assert torch.equal(parameter, other)
    assert not torch.equal(average, trained)
    take_average(plain)
    assert torch.equal(other, average)
