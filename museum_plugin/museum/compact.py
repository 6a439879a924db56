"""Which rank each layer of a museum needs: pure functions of what its directions carry. Source: ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from museum_plugin.errors import ConfigError
from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.resize import spectrum


def spectra(
    content: MuseumContent,
    moments: Mapping[str, SecondMoment] | None = None,
    references: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """The energy of every direction of every layer, scale included, the largest first.

    Args:
        moments: what layers are fed; without it the energy is that of the weight change.
        references: what a layer's energies are divided by, > 0, so that those of different layers can be compared;
            1 where nothing is said.
    Returns:
        key -> (n,) float64.
    """
    network, moments, references = content.ledger.network, moments or {}, references or {}
    found = {}
    for key in sorted(network.targets):
        down, up = (content.lora[name].flatten(1) for name in tensor_names(key)[:2])
        rank, alpha = network.shape(key)
        energies = spectrum(down, up, moments.get(key))
        found[key] = energies * ((alpha / rank) ** 2 / references.get(key, 1.0))
    return found


def least_ranks(energies: Mapping[str, Tensor], share: float) -> dict[str, int]:
    """The ranks that are left when the weakest directions of all layers go, as long as they carry `share` together.

    The directions of all layers stand in one row, and those with the least energy go first: no other choice of as many
    directions loses less. Every layer keeps one at least.

    Args:
        energies: key -> (n,) of each direction, the largest first.
        share: of the energy of all, 0..1, that may go.
    """
    rest = {key: values[1:].tolist() for key, values in energies.items()}
    ranked = sorted((energy, -place, key) for key, values in rest.items() for place, energy in enumerate(values))
    allowed = share * sum(float(values.sum()) for values in energies.values())
    ranks, gone = {key: len(values) for key, values in energies.items()}, 0.0
    for energy, _, key in ranked:
        gone += energy
        if gone > allowed:
            break
        ranks[key] -= 1
    return ranks


def capped(content: MuseumContent, rank: int) -> dict[str, int]:
    """The ranks of a museum's layers, none above `rank`.

    Raises:
        ConfigError: none is above it now.
    """
    network = content.ledger.network
    ranks = {key: network.shape(key)[0] for key in network.targets}
    if max(ranks.values(), default=0) <= rank:
        raise ConfigError(f"--rank: found {rank}, but no layer of this museum has a rank above {rank}")
    return {key: min(own, rank) for key, own in ranks.items()}


def part_of_energy(energies: Mapping[str, Tensor], ranks: Mapping[str, int]) -> float:
    """The part of all energy, 0..1, that is lost where each layer keeps its first directions up to a rank."""
    whole = torch.cat(list(energies.values())).sum()
    lost = torch.cat([values[ranks[key] :] for key, values in energies.items()]).sum()
    return float(lost / whole) if whole > 0 else 0.0
