"""Learning-rate schedules by the names sd-scripts gives them."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from museum_plugin.base.light_import import import_diffusers
from museum_plugin.config.flags.optimizer import SCHEDULES
from museum_plugin.config.learning import in_steps
from museum_plugin.config.schema import OptimizerConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.nonfinite import advance_without_step
from museum_plugin.train.optimizer import build_optimizer, finds_its_rates, is_schedule_free

log = logging.getLogger("museum")


def build_schedule(config: OptimizerConfig, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The learning-rate schedule over `steps` optimizer steps.

    Raises:
        ConfigError: the name is unknown, the learning rate is too small for it, or it refuses its arguments.
    """
    check_schedule(config)
    if is_schedule_free(optimizer):
        log.info("%s needs no schedule: lr_scheduler and lr_warmup_steps are not used", config.name)
        return LambdaLR(optimizer, lambda _step: 1.0)
    if finds_its_rates(config) or config.schedule.startswith("adafactor"):
        return _shown_only(config, optimizer)
    name = config.schedule_class or config.schedule
    try:
        if config.schedule_class:
            return schedule_class(config.schedule_class)(optimizer, **config.schedule_arguments)
        return _named(config, optimizer, steps)
    except ConfigError:
        raise
    except Exception as error:  # "polynomial" below its last rate; arguments that a schedule does not take
        flag = "lr_scheduler_args" if config.schedule_arguments else "lr_scheduler"
        reason = " ".join(str(error).split())
        raise ConfigError(f"{flag}: {name} refuses this learning rate or these arguments: {reason}") from error


def check_schedule(config: OptimizerConfig) -> None:
    """Refuse a schedule that is not there.

    Raises:
        ConfigError: the name is unknown, or it is Adafactor's own and the optimizer another.
    """
    if config.schedule_class:
        schedule_class(config.schedule_class)
        return
    name = config.schedule.partition(":")[0]
    if name not in SCHEDULES:
        raise ConfigError(f"lr_scheduler: found {config.schedule!r}, allowed: {', '.join(SCHEDULES)}")
    if name == "adafactor" and config.name.lower() != "adafactor":
        raise ConfigError("lr_scheduler: found 'adafactor', which needs optimizer_type=Adafactor; cosine is usual")


def try_schedule(config: OptimizerConfig, rates: Sequence[float], steps: int) -> None:
    """Build optimizer and schedule around a few numbers, since each refuses what it does not like in its own way.

    Args:
        rates: the learning rate of each group that has something to train.
        steps: optimizer steps.
    Raises:
        ConfigError: arguments that are refused, or nothing to train.
    """
    build_schedule(config, _small_optimizer(config, rates), steps)


def sum_of_rates(config: OptimizerConfig, rate: float, steps: int) -> float:
    """A learning rate added up over all steps of its schedule.

    Raises:
        ConfigError: see `build_schedule`.
    """
    optimizer = _small_optimizer(config, [rate])
    schedule, total = build_schedule(config, optimizer, steps), 0.0
    for _ in range(steps):
        total += float(optimizer.param_groups[0]["lr"])
        advance_without_step(schedule)
    return total


def _small_optimizer(config: OptimizerConfig, rates: Sequence[float]) -> Optimizer:
    """Around a few numbers, with a group for each learning rate."""
    return build_optimizer(config, [{"params": [nn.Parameter(torch.zeros(2, 2))], "lr": rate} for rate in rates])


def schedule_class(name: str) -> Callable[..., LRScheduler]:
    """The class of a name of torch.optim.lr_scheduler, or of an import path.

    Raises:
        ConfigError: there is nothing of that name, or it wants to be told something in every step.
    """
    module, _, attribute = name.rpartition(".") if "." in name else ("torch.optim.lr_scheduler", "", name)
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        package = module.split(".")[0]
        raise ConfigError(f"lr_scheduler_type {name!r} needs the package {package}: pip install {package}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"lr_scheduler_type: {module!r} has nothing called {attribute!r}") from error
    step = getattr(cls, "step", None)
    if not isinstance(cls, type) or step is None:
        raise ConfigError(f"lr_scheduler_type: {name!r} is no schedule: it has no step()")
    wanted = [p.name for p in list(inspect.signature(step).parameters.values())[1:] if p.default is p.empty]
    if wanted:
        raise ConfigError(
            f"lr_scheduler_type: {name!r} wants to be told {', '.join(wanted)} in every step, but a step's loss jumps "
            "with its noise level; a schedule of steps alone is needed"
        )
    return cls


def _shown_only(config: OptimizerConfig, optimizer: Optimizer) -> LRScheduler:
    """sd-scripts' `adafactor:rate`: a rate that is shown; with relative_step it moves nothing."""
    rate = config.schedule.partition(":")[2]
    for group in optimizer.param_groups:
        if group["lr"] is None:
            group["lr"] = float(rate) if rate else config.unet_learning_rate
    return LambdaLR(optimizer, lambda _step: 1.0)


def _named(config: OptimizerConfig, optimizer: Optimizer, steps: int) -> LRScheduler:
    import_diffusers("diffusers.optimization")  # not the networks, which are loaded with the base
    import diffusers.optimization as source

    warmup, decay = in_steps(config.warmup_steps, steps), in_steps(config.decay_steps, steps)
    config = replace(config, warmup_steps=warmup, decay_steps=decay)
    name = config.schedule
    if name == "constant" and config.warmup_steps:
        name = "constant_with_warmup"
    if name not in [kind.value for kind in source.SchedulerType]:
        import transformers.optimization as source  # takes seconds, since it loads peft
    known: Any = source
    function = known.TYPE_TO_SCHEDULER_FUNCTION[known.SchedulerType(name)]
    return function(optimizer, **{**_arguments(name, config, steps), **config.schedule_arguments})


def _arguments(name: str, config: OptimizerConfig, steps: int) -> dict[str, Any]:
    """What a schedule by name is told, as in sd-scripts.

    Raises:
        ConfigError: warm-up and decay are longer than the whole.
    """
    warmup = {"num_warmup_steps": config.warmup_steps}
    whole = {**warmup, "num_training_steps": steps}
    half_cycles = config.schedule_cycles / 2
    if name == "warmup_stable_decay":
        stable = steps - config.warmup_steps - config.decay_steps
        if stable < 0:
            raise ConfigError(
                f"lr_decay_steps: found {config.decay_steps}, which with lr_warmup_steps {config.warmup_steps} is more "
                f"than the {steps} steps of a style"
            )
        ends = {"num_stable_steps": stable, "num_decay_steps": config.decay_steps}
        return {**warmup, **ends, "num_cycles": half_cycles, "min_lr_ratio": config.schedule_min_ratio or 0.0}
    if name == "cosine_with_min_lr":
        given = {"min_lr", "min_lr_rate"} & set(config.schedule_arguments)
        lowest = {} if given else {"min_lr_rate": config.schedule_min_ratio}
        return {**whole, "num_cycles": half_cycles, **lowest}
    known: dict[str, dict[str, Any]] = {
        "constant": {},
        "constant_with_warmup": warmup,
        "piecewise_constant": {},
        "inverse_sqrt": {**warmup, "timescale": config.schedule_timescale},
        "cosine_with_restarts": {**whole, "num_cycles": config.schedule_cycles},
        "polynomial": {**whole, "power": config.schedule_power},
    }
    return known.get(name, whole)
