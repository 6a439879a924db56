"""What several processes of one run must agree on. With one process nothing of this costs anything."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch.nn import Parameter


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether any process says so; every process must ask at the same place."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum"))


def average_gradients(accelerator: Accelerator, parameters: Iterable[Parameter]) -> None:
    """The mean over processes of each gradient; a parameter that one of them did not use counts as zero there."""
    if accelerator.num_processes == 1:
        return
    for parameter in parameters:
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = accelerator.reduce(gradient, "mean")
