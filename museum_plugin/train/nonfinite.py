"""What happens to a step whose numbers are not finite: nothing of it reaches the weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import Parameter
from torch.nn.utils import get_total_norm
from torch.optim.lr_scheduler import LRScheduler

from museum_plugin.errors import NotFiniteError
from museum_plugin.museum.museum import Museum

log = logging.getLogger("museum")


@dataclass
class Skips:
    """Steps that were left out, one after another."""

    allowed: int
    in_a_row: int = 0

    def take(self, refused: NotFiniteError) -> None:
        """Leave one step out.

        Raises:
            NotFiniteError: no more in a row are allowed.
        """
        if self.in_a_row >= self.allowed:
            raise refused
        self.in_a_row += 1
        log.warning("%s Skipped (%d in a row, at most %d).", refused, self.in_a_row, self.allowed)


def advance_without_step(schedule: LRScheduler) -> None:
    """Let the learning rate go on although the optimizer stood still."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
        schedule.step()


def has_gradients(parameters: Sequence[Parameter]) -> bool:
    """Whether anything reached any of them."""
    return any(parameter.grad is not None for parameter in parameters)


def gradients_are_finite(parameters: Sequence[Parameter]) -> bool:
    """Whether every number of every gradient is; one look at the device."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return not gradients or bool(torch.isfinite(get_total_norm(gradients, norm_type=float("inf"))))


def not_finite_gradients(museum: Museum, style: str) -> list[str]:
    """Names of the modules, and "slot", whose gradient is not finite."""
    parts = {name: list(layer.parameters()) for name, layer in museum.network.layers.items()}
    parts["slot"] = museum.open_parameters(style)
    return [name for name, parameters in parts.items() if not gradients_are_finite(parameters)]
