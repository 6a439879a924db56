"""Bytes that an optimizer keeps, found by letting it take one step on the processor."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from museum_plugin.base.live_bytes import rounded
from museum_plugin.config.schema import OptimizerConfig
from museum_plugin.train.optimizer import build_optimizer

log = logging.getLogger("museum")
_AS_ADAMW = 8
"""Bytes for each number, where an optimizer cannot take a step here."""


def optimizer_bytes(config: OptimizerConfig, parameters: Iterable[Tensor]) -> int:
    """Bytes of the state of an optimizer after its first step.

    The optimizer itself is asked, on one parameter of each shape. State that it can put away into host memory (paged
    optimizers) counts as if it were on the card.

    Args:
        parameters: float32, on any device; their numbers are not read.
    """
    counts = Counter(tuple(parameter.shape) for parameter in parameters)
    samples = {shape: nn.Parameter(torch.ones(shape)) for shape in counts}
    try:
        state = _state_after_a_step(config, list(samples.values()))
    except Exception as error:  # a package that works on a card only; each has its own way to say so
        log.warning("%s: its memory is forecast as that of AdamW: %s", config.name, " ".join(str(error).split()))
        return sum(_AS_ADAMW * parameter.numel() * counts[shape] for shape, parameter in samples.items())
    own = {shape: _tensors(state.get(parameter, {})) for shape, parameter in samples.items()}
    seen = Counter(pointer for tensors in own.values() for pointer in tensors)
    return sum(
        counts[shape] * rounded(size)
        for shape, tensors in own.items()
        for pointer, size in tensors.items()
        if seen[pointer] == 1 or len(samples) == 1  # else a table that all parameters share
    )


def _state_after_a_step(config: OptimizerConfig, parameters: list[nn.Parameter]) -> dict[Tensor, dict[str, object]]:
    optimizer: Optimizer = build_optimizer(config, [{"params": parameters, "lr": 1.0}])
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    return dict(optimizer.state)


def _tensors(state: dict[str, object]) -> dict[int, int]:
    """Where each tensor with more than one number lies -> its bytes; single numbers stay on the processor."""
    found = [value for value in state.values() if isinstance(value, Tensor) and value.numel() > 1]
    return {tensor.data_ptr(): tensor.nbytes for tensor in found}
