"""How much of a museum's rank is in use: pure functions of the energies of its directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from museum_plugin.museum.compact import spectra
from museum_plugin.museum.file import MuseumContent

_MOST = 0.99


@dataclass(frozen=True)
class Fullness:
    """Of all layers of a museum that do something."""

    layers: int
    rank: float
    """Mean over the layers."""
    effective_rank: float
    """Mean of `effective_rank`."""
    least: float
    """The smallest effective rank of a layer."""
    most: float
    directions: float
    """Mean of the number of directions that hold 99 % of a layer's energy."""


def effective_rank(energies: Tensor) -> float:
    """The participation ratio (sum e)^2 / sum e^2 of the squared singular values: 1 for one direction, n for n equal.

    Source: the inverse participation ratio of physics; 0 where nothing has any energy.

    Args:
        energies: (n,), each 0 or more.
    """
    squares = float(energies.double().square().sum())
    return float(energies.double().sum()) ** 2 / squares if squares > 0 else 0.0


def directions_for(energies: Tensor, share: float) -> int:
    """How many of the strongest directions hold this share of the energy, 0..1; 0 where there is none.

    Args:
        energies: (n,), the largest first.
    """
    whole = float(energies.double().sum())
    held = energies.double().cumsum(0)
    return int((held < share * whole).sum()) + 1 if whole > 0 else 0


def fullness(content: MuseumContent) -> Fullness | None:
    """How full a museum is; None where no layer does anything yet.

    The energies are those of the weight changes, so nothing but the file is needed.
    """
    return fullness_of(
        spectra(content), {key: content.ledger.network.shape(key)[0] for key in content.ledger.network.targets}
    )


def fullness_of(energies: Mapping[str, Tensor], ranks: Mapping[str, int]) -> Fullness | None:
    """The same of the energies of each layer's directions.

    Args:
        ranks: of each layer.
    """
    used = {key: values for key, values in energies.items() if float(values.sum()) > 0}
    if not used:
        return None
    effective = [effective_rank(values) for values in used.values()]
    counts = [directions_for(values, _MOST) for values in used.values()]
    mean_rank = sum(ranks[key] for key in used) / len(used)
    return Fullness(
        layers=len(used),
        rank=mean_rank,
        effective_rank=sum(effective) / len(effective),
        least=min(effective),
        most=max(effective),
        directions=sum(counts) / len(counts),
    )
