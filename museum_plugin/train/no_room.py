"""What happens when memory runs out: nothing is lost, the next switch is named, and with `--fit` it is flipped."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate.utils.memory import should_reduce_batch_size

from museum_plugin.base.frozen import tensors_of
from museum_plugin.base.live_bytes import own_bytes
from museum_plugin.base.swap import swappable
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import NoRoomError
from museum_plugin.train.checkpoint import save_checkpoint
from museum_plugin.train.memory_ladder import next_switch
from museum_plugin.train.paths import checkpoint_file
from museum_plugin.train.setup import Classroom, Lesson, checkpoint_path

log = logging.getLogger("museum")
_GIB = 2**30


@dataclass
class WholeSteps:
    """How far a style is whenever it may be broken off."""

    done: int | None
    """Steps that are whole; None while numbers are being moved."""


@contextmanager
def saved_when_full(room: Classroom, lesson: Lesson, start: int) -> Iterator[WholeSteps]:
    """While inside, memory that runs out ends the run with the state after the last whole step saved.

    Args:
        start: steps that are done already.
    Yields:
        to be told how far the style is.
    Raises:
        NoRoomError: in place of torch's own error.
    """
    whole, reason = WholeSteps(start), ""
    try:
        yield whole
    except Exception as error:
        if not is_full(error):
            raise
        reason = _short(error)
        traceback.clear_frames(error.__traceback__)  # else the saving has no room either
    if reason:
        lesson.training.optimizer.zero_grad()
        raise NoRoomError(_message(room, lesson, whole.done, reason), _blocks(room))


@contextmanager
def told_when_full(doing: str, room: Classroom | None = None) -> Iterator[None]:
    """While inside, memory that runs out is told as what a user can mend, where no step is to be saved.

    Args:
        doing: what the run is at, for the message.
    Raises:
        NoRoomError: in place of torch's own error.
    """
    reason = ""
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        reason = _short(error)
        traceback.clear_frames(error.__traceback__)
    if reason:
        told = f"memory ran out {doing} ({reason}); what was there before is unchanged"
        raise NoRoomError(told, _blocks(room) if room else 0)


def is_full(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a card or elsewhere."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def with_less(run: RunConfig, full: NoRoomError) -> RunConfig:
    """The run to go on with after memory ran out.

    Raises:
        NoRoomError: it was not asked to go on (`--fit`), or no switch is left; says what can be done.
    """
    found = next_switch(run, keeping_result=True, blocks=full.blocks)
    told = str(full)
    full.__context__ = full.__traceback__ = None  # they hold on to what the step had
    if found is not None and run.training.fit:
        log.warning("%s; --fit: going on with %s", told, found[0])
        _let_go()
        return found[1]
    raise NoRoomError(f"{told}. {_advice(run, full, found)}", full.blocks)


def _advice(run: RunConfig, full: NoRoomError, found: tuple[str, RunConfig] | None) -> str:
    if found is not None:
        return f"Give the same command again with {found[0]}, which needs less and gives the same result; --fit does so"
    other = next_switch(run, keeping_result=False, blocks=full.blocks)
    left = f"{other[0]}, a smaller resolution or network_dim" if other else "a smaller resolution or network_dim"
    state = checkpoint_file(run.output)
    first = f"remove {state} and " if state.exists() else ""
    return f"Nothing is left that needs less and gives the same result: {first}start the style anew with {left}"


def _let_go() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _message(room: Classroom, lesson: Lesson, done: int | None, reason: str) -> str:
    title = f"style {lesson.name!r}" if lesson.name else "the LoRA"
    path, kept = checkpoint_path(room), "nothing of it was kept"
    if done == 0:
        kept = "nothing was learned yet"
    elif done is not None and room.museum.is_finite() and room.accelerator.is_main_process:
        save_checkpoint(path, lesson.training, lesson.origin, done)
        kept = f"the state after step {done} of {lesson.calendar.steps} is saved in {path}"
    elif path.exists():
        kept = f"the state that was saved last is in {path}"
    return f"{title}: memory ran out ({_held(room, lesson)}; {reason}); {kept}"


def _held(room: Classroom, lesson: Lesson) -> str:
    """What was there all the time."""
    base, optimizer = room.museum.base, lesson.training.optimizer
    state = [x for entry in optimizer.state.values() for x in entry.values() if isinstance(x, torch.Tensor)]
    parts = {
        "U-Net": own_bytes(tensors_of(base.unet)),
        "text encoders": sum(own_bytes(tensors_of(encoder)) for encoder in base.text_encoders),
        "LoRA": own_bytes(room.museum.network.parameters()),
        "optimizer": own_bytes(state),
    }
    return "held: " + ", ".join(f"{name} {count / _GIB:.2f} GiB" for name, count in parts.items())


def _blocks(room: Classroom) -> int:
    unet = room.museum.base.unet
    return len(swappable(unet))


def _short(error: Exception) -> str:
    """The first sentence of torch's message, which goes on about its allocator."""
    return " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__
