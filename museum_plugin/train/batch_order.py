"""Which batch of a style is learned when, so that an epoch of the calendar shows every picture. Source: accelerate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class BatchOrder:
    """In a micro-step every process takes one batch; an optimizer step has `accumulated` micro-steps.

    Steps do not reach over the end of an epoch: its last one has the micro-steps that are left. Where fewer batches
    are left than there are processes, the others take batches from the beginning of the same epoch.
    """

    batches_per_epoch: int
    accumulated: int = 1
    processes: int = 1
    process: int = 0
    """Which of them this is."""

    @property
    def micro_steps_per_epoch(self) -> int:
        """Of each process."""
        return math.ceil(self.batches_per_epoch / self.processes)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps."""
        return math.ceil(self.micro_steps_per_epoch / self.accumulated)

    def micro_steps(self, step: int) -> int:
        """How many micro-steps an optimizer step has."""
        done = step % self.steps_per_epoch * self.accumulated
        return min(self.accumulated, self.micro_steps_per_epoch - done)

    def index(self, step: int, micro: int) -> int:
        """The batch of this process, counted over all epochs."""
        epoch, in_epoch = divmod(step, self.steps_per_epoch)
        place = (in_epoch * self.accumulated + micro) * self.processes + self.process
        return epoch * self.batches_per_epoch + place % self.batches_per_epoch

    def places_from(self, step: int, micro: int) -> Iterator[tuple[int, int]]:
        """(step, micro-step) from this one on, without end."""
        for later in count(step):
            for number in range(micro if later == step else 0, self.micro_steps(later)):
                yield later, number
