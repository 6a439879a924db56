"""The state of an unfinished style: written whole or not at all, and resumed exactly."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from museum_plugin.config.files import write_atomically
from museum_plugin.errors import ConfigError
from museum_plugin.methods.method import Term
from museum_plugin.museum.museum import Museum


@dataclass(frozen=True)
class Training:
    """Everything that changes from step to step."""

    museum: Museum
    optimizer: Optimizer
    schedule: LRScheduler
    terms: dict[str, tuple[Term, float]]


def save_checkpoint(path: Path, training: Training, style: str, step: int, identity: dict[str, Any]) -> None:
    """Write the state after `step` steps.

    Args:
        identity: what the run is; a run that differs in any of it may not go on from here.
    Raises:
        OutputError: the file cannot be written; an earlier one is untouched.
    """
    state = {
        "identity": identity,
        "style": style,
        "step": step,
        "lora": training.museum.network.tensors(),
        "slot": [vector.detach() for vector in training.museum.open_parameters(style)],
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "terms": {name: term.state_dict() for name, (term, _) in training.terms.items()},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, training: Training, style: str, identity: dict[str, Any]) -> int:
    """Take up the state of a file, if there is one for this style.

    Returns:
        How many steps are done; 0 if there is nothing to go on from.
    Raises:
        ConfigError: the file is of another run; names the first difference.
    """
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except Exception as error:
        raise ConfigError(f"{path}: this checkpoint is damaged; remove it to start the style anew") from error
    for key in sorted({*found, *identity}):
        if found.get(key) != identity.get(key):
            raise ConfigError(
                f"{path}: cannot go on from this checkpoint: {key} was {found.get(key)!r}, now {identity.get(key)!r}; "
                "give the same settings, or remove the file to start the style anew"
            )
    _restore(training, style, state)
    return int(state["step"])


@torch.no_grad()
def _restore(training: Training, style: str, state: dict[str, Any]) -> None:
    training.museum.network.load_tensors(state["lora"])
    vectors: list[Tensor] = state["slot"]
    for parameter, value in zip(training.museum.open_parameters(style), vectors, strict=True):
        parameter.copy_(value)
    training.optimizer.load_state_dict(state["optimizer"])
    training.schedule.load_state_dict(state["schedule"])
    for name, (term, _) in training.terms.items():
        term.load_state_dict(state["terms"][name])
