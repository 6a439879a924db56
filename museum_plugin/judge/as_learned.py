"""What a style did right after it was learned, in a few hundred numbers.

Every later museum is held to it, not to the one before: so harm is seen however many lessons it took, and no earlier
file is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from museum_plugin.errors import MuseumFileError
from museum_plugin.judge.signature import Signature, distance
from museum_plugin.museum.ledger import AS_LEARNED, StyleRecord

SKETCH = 256
"""Numbers of a sketch. Source: ours; lengths come out right to about 4 %."""
_SKETCH_SEED = 70_003
_DIGITS = 4
_LEAST = 0.5
"""Part of the usual style's effect that every style is taken to have, so that one which hardly differs from the base
is not judged by noise. Source: ours."""
_STILL = 0.01
"""An effect so small is rounding, in units of the predicted noise. Source: ours; about two steps of bfloat16 at 1."""


def sketch(values: Tensor, size: int = SKETCH) -> Tensor:
    """A short vector as long as the root mean square of `values`; of sums and differences it is their sum, difference.

    Each number is added, with a sign, to one entry; sign and entry are drawn once and for all. The squared length is
    right on average, with a standard deviation of sqrt(2 / size) of it. Source: Charikar et al. 2002 (count sketch);
    arXiv:0902.2206.

    Args:
        values: of any shape, n numbers.
    Returns:
        (size,) float64 on the CPU.
    """
    flat = values.detach().flatten().to("cpu", torch.float64)
    rng = torch.Generator().manual_seed(_SKETCH_SEED)
    entry = torch.randint(size, (len(flat),), generator=rng)
    sign = 2 * torch.randint(2, (len(flat),), generator=rng) - 1
    return torch.zeros(size, dtype=torch.float64).index_add(0, entry, sign * flat) / math.sqrt(max(1, len(flat)))


@dataclass(frozen=True, eq=False)
class AsLearned:
    """What a style did to the base's pictures and predictions."""

    drawn: Signature
    """Of the pictures that its trigger drew."""
    effect: Tensor
    """(SKETCH,) float64: `sketch` of its predictions less the bare base's, on the base's pictures under fixed noise."""

    @property
    def strength(self) -> float:
        """How far its predictions were from the base's: their root mean square, in units of the predicted noise."""
        return self.effect.norm().item()

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; the sketch to four digits."""
        effect = [float(f"{number:.{_DIGITS}g}") for number in self.effect.tolist()]
        return {"drawn": self.drawn.to_dict(), "effect": effect}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> AsLearned:
        """What `to_dict` wrote.

        Raises:
            MuseumFileError: the numbers are incomplete, too many or too few, or not finite.
        """
        try:
            drawn, effect = numbers["drawn"], torch.tensor(numbers["effect"], dtype=torch.float64)
            if effect.shape != (SKETCH,) or not bool(torch.isfinite(effect).all()):
                raise ValueError(f"not {SKETCH} finite numbers")
        except (KeyError, TypeError, ValueError) as error:
            raise MuseumFileError(f"what a style was like when it was learned is damaged ({error})") from error
        return cls(Signature.from_dict(drawn), effect)


def effect_kept(now: Tensor, then: Tensor, usual: float) -> float:
    """1 - (m^2 - <now, then>) / max(m, usual / 2, 0.01)^2, m = max(|now|, |then|): what is left of an effect; <= 1.

    1 where nothing changed; 1/2 where it is half or twice as strong; 0 where it is gone, or another one of the same
    strength; below 0 where it is turned round. A style that hardly does anything cannot lose much. Source: ours.

    Args:
        now, then: sketches, in units of the predicted noise.
        usual: mean length of such a vector over the museum's styles.
    """
    most = max(now.norm().item(), then.norm().item())
    scale = max(most, _LEAST * usual, _STILL)
    return 1 - (most**2 - (now @ then).item()) / scale**2


def pictures_moved(now: Signature, then: Signature, base: Signature, usual: float) -> float:
    """distance(now, then) / max(distance(now, base), distance(then, base), usual / 2): 0 = as they were; >= 0.

    1 where the pictures have gone as far as a style lies from the base. Source: ours.

    Args:
        now, then, base: of pictures of the same prompts and seeds, `base` of the bare base's.
        usual: mean distance from the base over the museum's styles.
    """
    moved = distance(now, then)
    scale = max(distance(now, base), distance(then, base), _LEAST * usual)
    return moved / scale if scale > 0 else 0.0


def as_learned(records: Iterable[StyleRecord]) -> dict[str, AsLearned]:
    """Of the styles of which it is known.

    Raises:
        MuseumFileError: what is kept is damaged.
    """
    return {
        record.name: AsLearned.from_dict(record.extra[AS_LEARNED]) for record in records if AS_LEARNED in record.extra
    }


def with_as_learned(record: StyleRecord, found: AsLearned) -> StyleRecord:
    """The record, with what its style is now, unless it knows that already."""
    if AS_LEARNED in record.extra:
        return record
    return replace(record, extra={**record.extra, AS_LEARNED: found.to_dict()})
