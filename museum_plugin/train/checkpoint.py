"""The state of an unfinished style: written whole or not at all, and resumed exactly."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from museum_plugin.config.files import write_atomically
from museum_plugin.config.flags import told_default
from museum_plugin.errors import ConfigError
from museum_plugin.judge.course import Point
from museum_plugin.judge.retention import Verdict
from museum_plugin.methods.method import Term
from museum_plugin.museum.museum import Museum
from museum_plugin.train.nonfinite import Skips

DIGESTS = ("the pictures", "the museum", "the base model")
"""Parts of an identity that are digests, which mean nothing to a user."""


@dataclass
class Course:
    """How far a style is, and what was found on the way."""

    steps: int = 0
    """Optimizer steps that were done, extra ones included."""
    points: list[Point] = field(default_factory=list)
    verdict: Verdict | None = None
    """Of the museum as it is now, where it was judged as at the end; not part of a state."""


@dataclass(frozen=True)
class Training:
    """Everything that changes from step to step."""

    museum: Museum
    optimizer: Optimizer
    schedule: LRScheduler
    terms: dict[str, tuple[Term, float]]
    scaler: torch.amp.GradScaler | None = None
    """Of fp16."""
    skips: Skips = field(default_factory=lambda: Skips(0))
    smooth: dict[str, Tensor] = field(default_factory=dict)
    """The smoothed terms that are shown and logged."""
    course: Course = field(default_factory=Course)


@dataclass(frozen=True)
class Origin:
    """What a state belongs to."""

    style: str
    """"" for a plain LoRA."""
    identity: dict[str, Any]
    """What the run is; a run that differs in any of it may not go on from this state."""
    words: dict[str, str]
    """What stands behind each of the `DIGESTS`."""


def save_checkpoint(path: Path, training: Training, origin: Origin, step: int, museum_file: bytes = b"") -> None:
    """Write the state after `step` steps.

    Args:
        museum_file: of the museum before the style; with it the state stands on its own.
    Raises:
        OutputError: the file cannot be written; an earlier one is untouched.
    """
    state = {
        "identity": origin.identity,
        "words": origin.words,
        "style": origin.style,
        "museum_id": training.museum.ledger.museum_id,
        "step": step,
        "lora": training.museum.network.tensors(),
        "slot": [vector.detach() for vector in training.museum.open_parameters(origin.style)],
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "terms": {name: term.state_dict() for name, (term, _) in training.terms.items()},
        "scaler": training.scaler.state_dict() if training.scaler else {},
        "smooth": dict(training.smooth),
        "skipped": training.skips.in_a_row,
        "course": {"steps": training.course.steps, "points": [point.to_dict() for point in training.course.points]},
        "museum_file": torch.frombuffer(bytearray(museum_file), dtype=torch.uint8) if museum_file else None,
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
    state = read_state(path)
    style = state["style"]
    if style in finished or not styles:
        return None
    if style != styles[0]:
        raise unfinished_style(path, style)
    return going_on(state)


def going_on(state: dict[str, Any]) -> str:
    """Which style goes on from a state, after how many steps."""
    return f"{state['style'] or 'LoRA'} after step {state['step']}, from {state['path']}"


def read_state(path: Path) -> dict[str, Any]:
    """A state as it was written; nothing is compared yet.

    Raises:
        ConfigError: no such file, or a damaged one.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: found a folder, allowed: a state file that --save_state of this program wrote")
    if not path.exists():
        raise ConfigError(f"{path}: no such file; give a state that --save_state wrote, or an .unfinished.pt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {**state, "path": path, "style": str(state["style"]), "step": int(state["step"])}
    except Exception as error:
        raise _damaged(path) from error


def require_same(state: dict[str, Any], origin: Origin, instead: str = "start the style anew") -> None:
    """Refuse a state of another run.

    Args:
        instead: what a run does without this state.
    Raises:
        ConfigError: names the first difference, what was found and what is expected.
    """
    found, path = state["identity"], state["path"]
    # flags first: they say more than a digest that changes with them
    for key in sorted({*found, *origin.identity}, key=lambda key: (key in DIGESTS, key)):
        was, now = (_told(identity, key) for identity in (found, origin.identity))
        if was != now:
            if key in DIGESTS:
                was, now = (words.get(key, "not told") for words in (state.get("words", {}), origin.words))
            raise ConfigError(
                f"{path}: cannot go on from this checkpoint: {_difference(key, was, now)}; "
                f"give the same settings, or remove the file to {instead}"
            )


def restore(training: Training, style: str, state: dict[str, Any]) -> int:
    """Take up what `read_state` gave; {} is the very beginning.

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


def _told(identity: dict[str, Any], key: str) -> object:
    """A value of an identity; a flag that its version of this program did not know stands at its default."""
    value = identity[key] if key in identity else told_default(key)
    return None if value in ([], {}) else value


def unfinished_style(path: Path, style: str) -> ConfigError:
    """The error where another style has to be finished first."""
    return ConfigError(
        f"{path}: style {style!r} was not finished; give its command again first, or remove the file to drop it"
    )


def _difference(key: str, was: object, now: object) -> str:
    if key not in DIGESTS:
        return f"{key} was {was!r}, now {now!r}"
    if was != now:
        return f"{key} changed (was: {was}; now: {now})"
    return f"{key}{' or their captions' if key == DIGESTS[0] else ''} changed (both: {now})"


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
    training.smooth.update(state.get("smooth", {}))
    training.skips.in_a_row = state.get("skipped", 0)
    course = state.get("course", {"steps": state["step"], "points": []})
    training.course.steps, training.course.points = course["steps"], [Point.from_dict(p) for p in course["points"]]
    if training.scaler is not None:
        training.scaler.load_state_dict(state["scaler"])
