"""Whether a museum draws its training pictures again: how near drawn pictures come to them, in latent space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COPIED = 0.5
"""A picture less than half as far from a training picture as these lie from each other looks like a copy of it.
Source: ours."""


@dataclass(frozen=True)
class Memorization:
    """What was found of one style."""

    ratios: tuple[float, ...]
    """For each drawn picture: its distance to the nearest training picture / `spacing`."""
    nearest: tuple[int, ...]
    """Which training picture that is, counted from 0."""
    spacing: float
    """Median distance of a training picture to the nearest other one, in scaled latent units."""

    @property
    def copies(self) -> int:
        """Drawn pictures that look like copies."""
        return sum(ratio < COPIED for ratio in self.ratios)

    @property
    def median(self) -> float:
        """Median of the ratios."""
        return torch.tensor(self.ratios, dtype=torch.float64).quantile(0.5).item()


def picture_distances(pictures: Tensor, others: Tensor) -> Tensor:
    """(N, M) float64: root mean square difference of latents (N, C, h, w) and (M, C, h, w).

    Raises:
        ValueError: sizes do not agree.
    """
    if pictures.shape[1:] != others.shape[1:]:
        raise ValueError(f"latents {tuple(pictures.shape[1:])} and {tuple(others.shape[1:])} cannot be compared")
    a, b = pictures.double().flatten(1), others.double().flatten(1)
    return torch.stack([(a - row).square().mean(dim=1).sqrt() for row in b], dim=1)


def memorization(drawn: Tensor, training: Tensor) -> Memorization:
    """How near drawn pictures come to the nearest training picture, in units of how near these are to each other.

    1 = as far as one training picture from the next; 0 = the same picture. A style whose pictures are all alike has a
    small spacing, and is not blamed for drawing what is alike. Source: ours.

    Args:
        drawn: (N, C, h, w) latents.
        training: (M, C, h, w) latents of the same size, M >= 2; equal ones count as one.
    Raises:
        ValueError: no drawn picture, or fewer than two different training pictures; or sizes do not agree.
    """
    if not len(drawn):
        raise ValueError("there is no picture to compare")
    among = picture_distances(training, training)
    among[among == 0] = torch.inf
    spaces = among.min(dim=1).values if len(training) else torch.empty(0)
    spaces = spaces[spaces.isfinite()]
    if not len(spaces):
        raise ValueError(f"{len(training)} training pictures of one kind have no distance between them; two are needed")
    spacing = spaces.quantile(0.5).item()
    near = picture_distances(drawn, training).min(dim=1)
    return Memorization(tuple((near.values / spacing).tolist()), tuple(near.indices.tolist()), spacing)
