"""Optimisers and learning-rate schedules by the names sd-scripts gives them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from museum_plugin.config.schema import OptimizerConfig
from museum_plugin.errors import ConfigError

_BITSANDBYTES = {
    "adamw8bit": "AdamW8bit",
    "pagedadamw8bit": "PagedAdamW8bit",
    "pagedadamw32bit": "PagedAdamW32bit",
    "pagedadamw": "PagedAdamW",
    "lion8bit": "Lion8bit",
    "pagedlion8bit": "PagedLion8bit",
    "sgdnesterov8bit": "SGD8bit",
}
OFFERED_SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
)
"""What diffusers can make of a name and a length alone."""
_UNFIT = {"lbfgs": "asks for the loss again and again", "sparseadam": "takes sparse gradients alone"}
_IMPLIED: dict[str, dict[str, Any]] = {
    "sgdnesterov": {"nesterov": True, "momentum": 0.9},
    "sgdnesterov8bit": {"nesterov": True, "momentum": 0.9},
}


def optimizer_class(name: str) -> type[Optimizer]:
    """The class behind a name: sd-scripts' names without regard to case, a class of torch.optim, or an import path.

    Raises:
        ConfigError: nothing of that name, or its package is not installed.
    """
    key = name.lower() or "adamw"
    if key in _UNFIT:
        raise ConfigError(f"optimizer_type: found {name!r}, which {_UNFIT[key]}; AdamW is the usual choice")
    if key in _BITSANDBYTES:
        return _imported("bitsandbytes.optim", _BITSANDBYTES[key], name)
    if key == "sgdnesterov":
        return torch.optim.SGD
    for known in dir(torch.optim):
        found = getattr(torch.optim, known)
        if known.lower() == key and isinstance(found, type) and issubclass(found, Optimizer):
            return found
    if "." in name:
        module, _, attribute = name.rpartition(".")
        return _imported(module, attribute, name)
    known_names = "AdamW, Adam, SGD, SGDNesterov, Adafactor, AdamW8bit, PagedAdamW8bit, Lion8bit"
    raise ConfigError(f"optimizer_type: found {name!r}; allowed: {known_names}, any of torch.optim, or an import path")


def _imported(module: str, attribute: str, name: str) -> type[Optimizer]:
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        package = module.split(".")[0]
        raise ConfigError(f"optimizer_type {name!r} needs the package {package}: pip install {package}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"optimizer_type: {module!r} has nothing called {attribute!r}") from error


def build_optimizer(config: OptimizerConfig, groups: list[dict[str, Any]]) -> Optimizer:
    """An optimiser over parameter groups that carry their own `lr`; groups without learning rate are left out.

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
    try:
        return cls(groups, **arguments)
    except Exception as error:  # every optimizer refuses arguments in its own way
        reason = " ".join(str(error).split())
        raise ConfigError(f"optimizer_args: {config.name} refuses {arguments}: {reason}") from error


def check_optimizer(config: OptimizerConfig, rates: Sequence[float], steps: int) -> None:
    """Build optimizer and schedule around a few numbers, since each refuses what it does not like in its own way.

    Args:
        rates: the learning rate of each group that has something to train.
        steps: optimizer steps.
    Raises:
        ConfigError: names or arguments that are refused, or nothing to train.
    """
    optimizer_class(config.name)
    check_schedule(config)
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2, 2))], "lr": rate} for rate in rates]
    build_schedule(config, build_optimizer(config, groups), steps)


def build_schedule(config: OptimizerConfig, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning-rate schedule over `steps` optimizer steps.

    Raises:
        ConfigError: the name is unknown, or the learning rate is too small for it.
    """
    from diffusers.optimization import get_scheduler  # takes seconds to load

    check_schedule(config)
    schedule = config.schedule
    if schedule == "constant" and config.warmup_steps:
        schedule = "constant_with_warmup"
    try:
        return get_scheduler(schedule, optimizer, num_warmup_steps=config.warmup_steps, num_training_steps=steps)
    except ValueError as error:  # "polynomial" below its last rate
        raise ConfigError(f"lr_scheduler: {schedule} refuses this learning rate: {error}") from error


def check_schedule(config: OptimizerConfig) -> None:
    """Refuse a schedule that is not there.

    Raises:
        ConfigError: the name is unknown.
    """
    if config.schedule not in OFFERED_SCHEDULES:
        raise ConfigError(f"lr_scheduler: found {config.schedule!r}, allowed: {', '.join(OFFERED_SCHEDULES)}")
