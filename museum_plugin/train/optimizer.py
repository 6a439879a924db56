"""Optimisers by the names sd-scripts gives them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer

from museum_plugin.config.refusal import did_you_mean
from museum_plugin.config.schema import NetworkConfig, OptimizerConfig
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

_ELSEWHERE = {
    "adamw8bit": "bitsandbytes.optim.AdamW8bit",
    "pagedadamw8bit": "bitsandbytes.optim.PagedAdamW8bit",
    "pagedadamw32bit": "bitsandbytes.optim.PagedAdamW32bit",
    "pagedadamw": "bitsandbytes.optim.PagedAdamW",
    "lion8bit": "bitsandbytes.optim.Lion8bit",
    "pagedlion8bit": "bitsandbytes.optim.PagedLion8bit",
    "sgdnesterov8bit": "bitsandbytes.optim.SGD8bit",
    "sgdnesterov": "torch.optim.SGD",
    "adafactor": "transformers.optimization.Adafactor",
    "lion": "lion_pytorch.Lion",
    "prodigy": "prodigyopt.Prodigy",
    "dadaptation": "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptadampreprint": "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptadagrad": "dadaptation.DAdaptAdaGrad",
    "dadaptadam": "dadaptation.DAdaptAdam",
    "dadaptadan": "dadaptation.DAdaptAdan",
    "dadaptadanip": "dadaptation.experimental.DAdaptAdanIP",
    "dadaptlion": "dadaptation.DAdaptLion",
    "dadaptsgd": "dadaptation.DAdaptSGD",
    "adamwschedulefree": "schedulefree.AdamWScheduleFree",
    "radamschedulefree": "schedulefree.RAdamScheduleFree",
    "sgdschedulefree": "schedulefree.SGDScheduleFree",
}
"""sd-scripts' name in small letters -> import path."""
_DISTRIBUTIONS = {"lion_pytorch": "lion-pytorch"}
"""Package as it is imported -> as it is installed, where these differ."""
_UNFIT = {"lbfgs": "asks for the loss again and again", "sparseadam": "takes sparse gradients alone"}
_IMPLIED: dict[str, dict[str, Any]] = {
    "sgdnesterov": {"nesterov": True, "momentum": 0.9},
    "sgdnesterov8bit": {"nesterov": True, "momentum": 0.9},
    "adafactor": {"relative_step": True},
}
_ESTIMATE_THE_STEP = ("dadaptation", "prodigyopt")
"""Packages whose optimizers find the size of a step themselves, one for all parameters."""
_TOO_SMALL_A_FACTOR = 0.1


def optimizer_class(name: str) -> type[Optimizer]:
    """The class behind a name: sd-scripts' names without regard to case, a class of torch.optim, or an import path.

    Raises:
        ConfigError: nothing of that name, or its package is not installed.
    """
    key = name.lower() or "adamw"
    if key in _UNFIT:
        raise ConfigError(f"optimizer_type: found {name!r}, which {_UNFIT[key]}; AdamW is the usual choice")
    path = _ELSEWHERE.get(key, name)
    if "." in path:
        module, _, attribute = path.rpartition(".")
        return _imported(module, attribute, name)
    known = {cls.__name__: cls for cls in _torch_classes()}
    for known_name, cls in known.items():
        if known_name.lower() == key:
            return cls
    names = "AdamW, AdamW8bit, PagedAdamW8bit, Lion, Lion8bit, SGDNesterov, Adafactor, Prodigy, DAdaptAdam, "
    names += "AdamWScheduleFree"
    near = did_you_mean(key, [*_ELSEWHERE, *(known_name.lower() for known_name in known)])
    raise ConfigError(f"optimizer_type: found {name!r}; allowed: {names}, any of torch.optim, or an import path{near}")


def _torch_classes() -> list[type[Optimizer]]:
    found = (getattr(torch.optim, name) for name in dir(torch.optim))
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, Optimizer)]


def _imported(module: str, attribute: str, name: str) -> type[Optimizer]:
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        package = module.split(".")[0]
        install = _DISTRIBUTIONS.get(package, package)
        raise ConfigError(f"optimizer_type {name!r} needs the package {install}: pip install {install}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"optimizer_type: {module!r} has nothing called {attribute!r}") from error


def check_optimizer(config: OptimizerConfig, network: NetworkConfig) -> None:
    """Refuse an optimizer that is not there, or that cannot go with what is asked of it.

    Raises:
        ConfigError: its name is unknown, its package missing, or it takes one learning rate and several are asked for.
    """
    cls, given = optimizer_class(config.name), network.arguments
    loraplus = given.loraplus_ratio("unet") != 1 or given.loraplus_ratio("text_encoder") != 1
    if loraplus and (_estimates_the_step(cls) or finds_its_rates(config)):
        raise ConfigError(
            f"network_args: loraplus_lr_ratio cannot go with optimizer_type {config.name}, which takes one learning "
            "rate for all; leave one of them out"
        )
    if network.scale_weight_norms is not None and callable(getattr(cls, "eval", None)):
        raise ConfigError(
            f"scale_weight_norms: cannot go with optimizer_type {config.name}, whose averages it would not reach; "
            "leave one of them out"
        )


def _estimates_the_step(cls: type[Optimizer]) -> bool:
    return getattr(cls, "__module__", "").split(".")[0] in _ESTIMATE_THE_STEP


def finds_its_rates(config: OptimizerConfig) -> bool:
    """Whether it is sd-scripts' Adafactor, which by default computes every learning rate itself."""
    asked = config.arguments.get("relative_step", True) or config.arguments.get("warmup_init", False)
    return config.name.lower() == "adafactor" and bool(asked)


def is_schedule_free(optimizer: Optimizer) -> bool:
    """Whether an optimizer averages its steps itself: it trains other numbers than those it gives in the end."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it for fp16
    return callable(getattr(inner, "train", None)) and callable(getattr(inner, "eval", None))


def build_optimizer(config: OptimizerConfig, groups: list[dict[str, Any]]) -> Optimizer:
    """An optimiser over parameter groups that carry their own `lr`; groups without learning rate are left out.

    One that is schedule-free is ready to train.

    Raises:
        ConfigError: the name is unknown or it does not take one of `optimizer_args`.
    """
    groups = [group for group in groups if group["params"] and group["lr"] > 0]
    if not groups:
        raise ConfigError("nothing to train: every learning rate is 0 (unet_lr, text_encoder_lr, slot_lr)")
    cls = optimizer_class(config.name)
    # Some optimizers and schedules want a rate of the whole besides those of the groups, which win.
    rate = max(group["lr"] for group in groups)
    arguments = {"lr": rate, **_IMPLIED.get(config.name.lower(), {}), **config.arguments}
    if _estimates_the_step(cls):
        groups = _with_one_rate(config.name, groups)
        arguments["lr"] = groups[0]["lr"]
    elif finds_its_rates(config):
        log.info(
            "Adafactor finds its own rates: learning rates are not used; optimizer_args relative_step=False uses them"
        )
        groups = [{name: value for name, value in group.items() if name != "lr"} for group in groups]
        arguments |= {"lr": None, "relative_step": True}
    try:
        optimizer = cls(groups, **arguments)
    except Exception as error:  # every optimizer refuses arguments in its own way
        reason = " ".join(str(error).split())
        raise ConfigError(f"optimizer_args: {config.name} refuses {arguments}: {reason}") from error
    if is_schedule_free(optimizer):
        optimizer.train()  # type: ignore[attr-defined]
    return optimizer


def _with_one_rate(name: str, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All groups with the first one's rate (sd-scripts): it is a factor of the step that the optimizer estimates."""
    rate = groups[0]["lr"]
    if any(group["lr"] != rate for group in groups):
        log.info("%s takes one learning rate for all, slots included: %g is used", name, rate)
    if rate <= _TOO_SMALL_A_FACTOR:
        log.warning("%s multiplies the step it estimates by the learning rate, %g: 1 is usual", name, rate)
    return [{**group, "lr": rate} for group in groups]


@contextmanager
def averaged(optimizer: Optimizer) -> Iterator[None]:
    """While inside, the parameters have the numbers that a schedule-free optimizer gives in the end.

    Afterwards they are bit for bit what they were; with any other optimizer nothing happens.
    """
    if not is_schedule_free(optimizer):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer.eval()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


def take_average(optimizer: Optimizer) -> None:
    """After the last step: leave the parameters with the numbers that a schedule-free optimizer gives in the end."""
    if is_schedule_free(optimizer):
        optimizer.eval()  # type: ignore[attr-defined]
