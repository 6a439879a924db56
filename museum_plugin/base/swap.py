"""Blocks of the frozen U-Net whose weights lie in host memory and come to the card when they are used.

Why not diffusers' own `apply_group_offloading`: it exchanges the data of parameters around a module's forward pass, and
is for inference. What autograd keeps for the backward pass is then either the copy on the card (a Linear's transposed
weight), so that nothing is saved, or the parameter (a convolution's), which lies in host memory by then; gradient
checkpointing changes nothing in that, because the second forward pass is over, too, when the backward pass begins. Here
a weight is asked for where it is used, and again in the backward pass (see `frozen`), and autograd keeps none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from museum_plugin.base.carrier import Carrier, Load
from museum_plugin.base.frozen import Stored, Weight, as_it_is, give_back, layers, take_from
from museum_plugin.config.schema.base import SWAPPED_AT_ONCE

_NONE = -1
"""No block."""
_NOTHING = Load((), lambda: None)


class Shuttle:
    """Brings the weights of one block at a time, and begins with the next before it is asked for.

    Which one is next is learned from the passes before: what followed the last time these two came one after the other.
    A wrong guess costs time only.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._kept: list[tuple[Tensor, ...]] = []
        self._before, self._now = _NONE, _NONE
        self._here = _NOTHING
        self._coming: tuple[int, Load] | None = None
        self._followed: dict[tuple[int, int], int] = {}

    def add(self, tensors: Sequence[Tensor]) -> tuple[int, tuple[Tensor, ...]]:
        """Take the tensors of one more block.

        Returns:
            its number, and the tensors as they lie in host memory.
        """
        kept = tuple(self._carrier.keep(tensor) for tensor in tensors)
        self._kept.append(kept)
        return len(self._kept) - 1, kept

    def tensors(self, block: int) -> tuple[Tensor, ...]:
        """The tensors of a block, on the card; whoever keeps them keeps their memory."""
        if block != self._now:
            self._turn_to(block)
        return self._here.tensors

    def rest(self) -> None:
        """Let go of everything that is on the card."""
        self._here, self._now = _NOTHING, _NONE
        self._drop_coming()

    def _turn_to(self, block: int) -> None:
        self._followed[self._before, self._now] = block
        self._before, self._now, self._here = self._now, _NONE, _NOTHING  # what is let go of makes room for the next
        if self._coming is not None and self._coming[0] != block:
            self._drop_coming()
        load = self._carrier.send(self._kept[block]) if self._coming is None else self._coming[1]
        load.arrive()
        self._now, self._here, self._coming = block, load, None
        guess = self._followed.get((self._before, block))
        if guess is not None:
            self._coming = (guess, self._carrier.send(self._kept[guess]))

    def _drop_coming(self) -> None:
        if self._coming is not None:
            self._coming[1].arrive()
            self._coming = None


@dataclass(frozen=True)
class Away:
    """A weight whose parts travel with those of its block."""

    kept: Stored
    """In host memory."""
    shuttle: Shuttle
    block: int
    first: int
    """Place of its first part among those of the block."""

    def whole(self) -> Tensor:
        """The weight on the card."""
        return self.kept.rebuild(self.shuttle.tensors(self.block)[self.first : self.first + len(self.kept.parts)])


def swappable(unet: Any) -> list[nn.Module]:
    """The blocks that can be swapped, in the order in which they compute: ResNets and the blocks of transformers."""
    found: list[nn.Module] = []
    for part in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        for resnet, attention in zip_longest(part.resnets, getattr(part, "attentions", None) or ()):
            found.append(resnet)
            found += () if attention is None else attention.transformer_blocks
    return found


def spread(blocks: int, count: int) -> list[int]:
    """`count` numbers below `blocks`, evenly apart, so that each copy has what lies between to overlap with."""
    return [number * blocks // count for number in range(count)]


def block_bytes(block: nn.Module) -> int:
    """Bytes of what a block would keep in host memory: the weights of its Linear layers and convolutions."""
    return sum(_stored(module).nbytes for module in layers(block))


def _stored(module: Any) -> Stored:
    stored = getattr(module, "stored", None)
    return stored if isinstance(stored, Stored) else as_it_is(module.weight)


def bytes_on_card(sizes: Sequence[int], count: int) -> int:
    """Bytes of the blocks' weights that are on the card at once, where `count` blocks are swapped.

    Args:
        sizes: bytes of each block.
    """
    away = spread(len(sizes), count)
    travelling = sorted((sizes[block] for block in away), reverse=True)[:SWAPPED_AT_ONCE]
    return sum(sizes) - sum(sizes[block] for block in away) + sum(travelling)


def fewest_blocks(sizes: Sequence[int], room: int) -> int | None:
    """The least number of blocks to swap so that the rest fits into `room` bytes; None where no number does."""
    counts = (0, *range(SWAPPED_AT_ONCE + 1, len(sizes) + 1))
    return next((count for count in counts if bytes_on_card(sizes, count) <= room), None)


@contextmanager
def swapped(blocks: Sequence[nn.Module], carrier: Carrier) -> Iterator[Shuttle]:
    """While inside, the weights of these blocks lie in host memory; then every module is as it was found.

    Whatever moves the U-Net to the card inside leaves them where they are.
    """
    shuttle = Shuttle(carrier)
    before: list[tuple[Any, Weight | Parameter]] = []
    try:
        for block in blocks:
            _send_away(block, shuttle, before)
        yield shuttle
    finally:
        shuttle.rest()
        for module, found in before:
            if isinstance(found, Parameter):
                give_back(module, found)
            else:
                take_from(module, found)


def _send_away(block: nn.Module, shuttle: Shuttle, before: list[tuple[Any, Weight | Parameter]]) -> None:
    modules = list(layers(block))
    stored = [_stored(module) for module in modules]
    number, kept = shuttle.add([part for one in stored for part in one.parts])
    first = 0
    for module, one in zip(modules, stored, strict=True):
        parts = kept[first : first + len(one.parts)]
        weight = take_from(module, Away(Stored(parts, one.rebuild), shuttle, number, first))
        if weight is None:
            before.append((module, Stored(parts, one.rebuild)))
        else:
            weight.data = parts[0]  # else there would be two of it in host memory
            before.append((module, weight))
        first += len(parts)
