"""How tensors travel between host memory and the card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

log = logging.getLogger("museum")


@dataclass(frozen=True)
class Load:
    """Tensors that are on their way to the card."""

    tensors: tuple[Tensor, ...]
    """Where they will lie; not to be read, nor let go of, before `arrive`."""
    arrive: Callable[[], None]
    """Let whatever is computed from now on wait until they are there."""


class Carrier(Protocol):
    """Moves tensors that never change: one copy stays in host memory, others come and go."""

    def keep(self, tensor: Tensor) -> Tensor:
        """The tensor as it lies in host memory."""
        ...

    def send(self, kept: Sequence[Tensor]) -> Load:
        """Begin to bring copies to the card."""
        ...


class Copies:
    """Plain copies, each finished before the next thing is done: for any device, the processor's own memory too."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def keep(self, tensor: Tensor) -> Tensor:
        """The tensor in host memory; itself where it is there."""
        return tensor.cpu()

    def send(self, kept: Sequence[Tensor]) -> Load:
        """Bring copies, which are there at once."""
        return Load(tuple(tensor.to(self._device, copy=True) for tensor in kept), lambda: None)


class CopyStream:
    """Copies from pinned memory on a stream of their own, so that a CUDA card computes meanwhile.

    The copies lie in memory of the computing stream, and that is what makes it safe to let go of them while their last
    kernels are still waiting: whatever gets the memory next is queued behind those kernels. For the same reason a copy
    begins only when all that was queued before it is done, since that may still read what lay there. No
    `record_stream` is needed as long as every load arrives before it is let go of.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pins = True

    def keep(self, tensor: Tensor) -> Tensor:
        """The tensor in pinned memory, which torch hands out in powers of two: a third more in all than it holds.

        Where the system pins no more (WSL allows half of the memory), as it is: its copies are waited for.
        """
        kept = tensor.cpu()
        if self._pins:
            try:
                return kept.pin_memory()
            except RuntimeError as error:
                self._pins = False
                reason = str(error).partition("\n")[0]
                log.warning("no more host memory can be pinned, and steps will take longer: %s", reason)
        return kept

    def send(self, kept: Sequence[Tensor]) -> Load:
        """Begin with copies as soon as what was queued so far is computed."""
        places = tuple(torch.empty_like(tensor, device=self._device, pin_memory=False) for tensor in kept)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for place, tensor in zip(places, kept, strict=True):
                place.copy_(tensor, non_blocking=True)
            done = self._stream.record_event()
        return Load(places, lambda: torch.cuda.current_stream(self._device).wait_event(done))


def carrier_to(device: torch.device) -> Carrier:
    """What carries to a device: overlapped with what it computes where that is known to work."""
    return CopyStream(device) if device.type == "cuda" else Copies(device)
