"""How long a step takes here, before anything is trained."""

from __future__ import annotations

import time
from contextlib import closing

import torch

from museum_plugin.train.inputs import reader_for
from museum_plugin.train.loop import micro_step
from museum_plugin.train.reader import BatchReader
from museum_plugin.train.setup import Classroom, Lesson

_WARM_UP = 2
_TIMED = 6
"""An even number: beside a single picture only every second step has a part of the bank."""


def seconds_a_step(room: Classroom, lesson: Lesson) -> float:
    """Mean seconds of the first steps of a style, forward and backward with everything that holds old styles.

    The optimizer does not move anything, which is a small part of a step. No gradient is left.

    Raises:
        NotFiniteError, DataError: as in a run.
    """
    device = room.museum.base.device
    with closing(reader_for(room, lesson)) as reader:
        _take(room, lesson, reader, range(_WARM_UP))
        begun = _now(device)
        _take(room, lesson, reader, range(_WARM_UP, _WARM_UP + _TIMED))
        return (_now(device) - begun) / _TIMED


def _take(room: Classroom, lesson: Lesson, reader: BatchReader, steps: range) -> None:
    for step in steps:
        for micro in range(lesson.order.micro_steps(step)):
            micro_step(room, lesson, reader, step, micro)
        lesson.training.optimizer.zero_grad()


def _now(device: torch.device) -> float:
    """Seconds, when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
