"""The state of an unfinished style: written whole or not at all, and resumed exactly."""

from __future__ import annotations

import io
from collections.abc import Sequence
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

DIGESTS = ("the pictures", "the museum", "the base model")
"""Parts of an identity that are digests, which mean nothing to a user."""


@dataclass(frozen=True)
class Training:
    """Everything that changes from step to step."""

    museum: Museum
    optimizer: Optimizer
    schedule: LRScheduler
    terms: dict[str, tuple[Term, float]]
    scaler: torch.amp.GradScaler | None = None
    """Of fp16."""


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
        "scaler": training.scaler.state_dict() if training.scaler else {},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def check_unfinished(path: Path, styles: Sequence[str], finished: tuple[str, ...]) -> str | None:
    """Whether a run that teaches these styles goes on from a checkpoint; its settings are not compared.

    Args:
        styles: that will be taught, in order.
        finished: those of the museum.
    Returns:
        The style and how many steps are done; None where there is nothing to go on from.
    Raises:
        ConfigError: the file is damaged, or of a style that is not the next one.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        style, step = state["style"], int(state["step"])
    except Exception as error:
        raise _damaged(path) from error
    if style in finished or not styles:
        return None
    if style != styles[0]:
        raise _unfinished(path, style)
    return f"{style or 'LoRA'} after step {step}, from {path}"


def read_checkpoint(path: Path, style: str, finished: tuple[str, ...], identity: dict[str, Any]) -> dict[str, Any]:
    """The state in a file, if this style can go on from it.

    Args:
        finished: the styles of the museum; a checkpoint of one of them was left behind and counts as none.
    Returns:
        What `restore` takes; empty if there is nothing to go on from.
    Raises:
        ConfigError: the file is damaged, or of another run; names the first difference.
    """
    if not path.exists():
        return {}
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found, of_style = state["identity"], state["style"]
    except Exception as error:
        raise _damaged(path) from error
    if of_style in finished:
        return {}
    if of_style != style:
        raise _unfinished(path, of_style)
    for key in sorted({*found, *identity}):
        if found.get(key) != identity.get(key):
            raise ConfigError(
                f"{path}: cannot go on from this checkpoint: {_difference(key, found.get(key), identity.get(key))}; "
                "give the same settings, or remove the file to start the style anew"
            )
    return {**state, "path": path}


def restore(training: Training, style: str, state: dict[str, Any]) -> int:
    """Take up what `read_checkpoint` gave.

    Returns:
        How many steps are done.
    Raises:
        ConfigError: the state is not whole.
    """
    if not state:
        return 0
    try:
        _restore(training, style, state)
        return int(state["step"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(state["path"]) from error


def _damaged(path: Path) -> ConfigError:
    return ConfigError(f"{path}: this checkpoint is damaged; remove it to start the style anew")


def _unfinished(path: Path, style: str) -> ConfigError:
    return ConfigError(
        f"{path}: style {style!r} was not finished; give its command again first, or remove the file to drop it"
    )


def _difference(key: str, was: object, now: object) -> str:
    return f"{key} changed" if key in DIGESTS else f"{key} was {was!r}, now {now!r}"


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
    if training.scaler is not None:
        training.scaler.load_state_dict(state["scaler"])
