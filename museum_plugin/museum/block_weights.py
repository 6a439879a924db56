"""Learning rates that differ from block to block of the U-Net, as sd-scripts has them. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from museum_plugin.config.schema import NetworkArguments
from museum_plugin.errors import ConfigError


class BlockCounts(Enum):
    """How sd-scripts counts the blocks of a U-Net: on each side, and in the middle."""

    SD1 = (12, 1)
    SDXL = (9, 3)

    @property
    def total(self) -> int:
        """All blocks; SDXL's also count its first and last convolutions, which get no layers."""
        side, middle = self.value
        return 2 * side + middle + (2 if self is BlockCounts.SDXL else 0)


_CURVES: dict[str, Callable[[float], float]] = {
    "sine": lambda place: math.sin(math.pi * place / 2),
    "cosine": lambda place: math.sin(math.pi * (1 - place) / 2),
    "linear": lambda place: place,
    "reverse_linear": lambda place: 1 - place,
    "zeros": lambda place: 0.0,
}
"""Place in the side, 0 first to 1 last -> factor."""


def block_weights(given: NetworkArguments, counts: BlockCounts) -> tuple[float, ...]:
    """The factor of the learning rate for each block, in the order of `block_of`; 1 where none is given.

    Lists that are too short are filled up with 1 (sd-scripts); factors up to the threshold are 0.

    Raises:
        ConfigError: more factors than blocks.
    """
    side, middle = counts.value
    if given.down_lr_weight is given.mid_lr_weight is given.up_lr_weight is None:
        return (1.0,) * counts.total
    found: list[float] = []
    for name, length in (("down_lr_weight", side), ("mid_lr_weight", middle), ("up_lr_weight", side)):
        values = getattr(given, name)
        factors = preset_weights(values, length) if isinstance(values, str) else list(values or (1.0,) * length)
        if len(factors) > length:
            raise ConfigError(f"network_args: {name}: found {len(factors)} numbers, but this U-Net has {length} there")
        factors += [1.0] * (length - len(factors))
        above = 0.0 if values is None else given.block_lr_zero_threshold
        found += [factor if factor > above else 0.0 for factor in factors]
    return (1.0, *found, 1.0) if counts is BlockCounts.SDXL else tuple(found)


def preset_weights(text: str, length: int) -> list[float]:
    """The factors of a preset such as "sine+0.25": a curve over the blocks of one side, and what is added to it.

        sine: sin(pi/2 i/(n-1)); cosine: the same backwards; linear: i/(n-1); reverse_linear; zeros

    Source: sd-scripts.
    """
    name, _, added = text.partition("+")
    return [_CURVES[name](i / (length - 1)) + float(added or 0) for i in range(length)]
