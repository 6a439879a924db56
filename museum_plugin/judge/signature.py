"""The signature of a set of latents: how a style is told from another one without a classifier.

What it sees: the statistics of small neighbourhoods, so texture, palette, contrast and light. What it does not see:
meaning, objects, composition, anything wider than a few latent positions. Pictures of the wrong objects in the right
style score as well as the right ones; two styles that differ in their motifs alone have the same signature; and
pictures of few or unusual objects move it, so a style's own held-out pictures score below 1. A style that lies no
farther from the base than two sets of the base's own pictures lie from each other cannot be measured: it scores near 0
even where it is drawn perfectly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.ledger import StyleRecord

_SAME = 1e-9
"""Distances below this, in latent units, are rounding."""


@dataclass(frozen=True, eq=False)
class Signature:
    """The Gaussian with the mean and covariance of all 2x2 neighbourhoods; D = 4 x latent channels. Or, of a network's
    maps, of what stands at each place."""

    mean: Tensor
    """(D,) float64, on the CPU, in scaled latent units."""
    covariance: Tensor
    """(D, D) float64, symmetric, positive semidefinite."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON, rounded to float32; of the covariance the lower triangle, row by row."""
        rows = [row[: i + 1] for i, row in enumerate(self.covariance)]
        return {"mean": _rounded(self.mean), "covariance": [_rounded(row) for row in rows]}

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> Signature:
        """The signature that `to_dict` wrote, to float32 precision.

        Raises:
            MuseumFileError: the numbers are incomplete, of unequal lengths, or not finite.
        """
        try:
            mean = torch.tensor(numbers["mean"], dtype=torch.float32).double()
            rows = [torch.tensor(row, dtype=torch.float32).double() for row in numbers["covariance"]]
            if mean.ndim != 1 or [tuple(row.shape) for row in rows] != [(i + 1,) for i in range(len(mean))]:
                raise ValueError("not a triangle")
            if not all(bool(torch.isfinite(part).all()) for part in (mean, *rows)):
                raise ValueError("not finite")
        except (KeyError, TypeError, ValueError) as error:
            raise MuseumFileError(f"a style's signature is damaged ({error}); its score cannot be measured") from error
        lower = torch.zeros(len(mean), len(mean), dtype=torch.float64)
        for i, row in enumerate(rows):
            lower[i, : i + 1] = row
        return cls(mean, lower + lower.tril(-1).T)


def _rounded(values: Tensor) -> list[float]:
    # The shortest decimals that name the float32 number: half as long in JSON as its float64 digits.
    return [float(str(number)) for number in values.numpy().astype(np.float32)]


def neighbourhoods(latents: Tensor) -> Tensor:
    """All overlapping 2x2 neighbourhoods of (C, h, w) latents: ((h-1)(w-1), 4C) float64 on the CPU."""
    windows = latents.detach().to("cpu", torch.float64).unfold(1, 2, 1).unfold(2, 2, 1)
    return windows.permute(1, 2, 0, 3, 4).reshape(-1, 4 * latents.shape[0])


def signature(latents: Sequence[Tensor] | Tensor) -> Signature:
    """Mean and covariance of the 2x2 neighbourhoods of some pictures. Every picture counts the same, whatever its size.

    Source: ours; the Gaussian statistics are those of FID (arXiv:1706.08500), on latents instead of network features.

    Args:
        latents: scaled latents, (N, C, h, w) or N tensors (C, h, w) of any sizes from 2x2 on.
    Raises:
        ValueError: no latents, unequal channels, smaller than 2x2, or not finite.
    """
    pictures = list(latents)
    if not pictures:
        raise ValueError("a signature needs the latents of at least one picture")
    shapes = [tuple(picture.shape) for picture in pictures]
    if any(len(s) != 3 or s[0] != shapes[0][0] or min(s[1:]) < 2 for s in shapes):
        raise ValueError(f"latents must be (C, h, w) with one C and h, w >= 2, found {sorted(set(shapes))}")
    return _of_patches([neighbourhoods(picture) for picture in pictures])


def map_signature(maps: Tensor) -> Signature:
    """Mean and covariance of the C numbers at each place of a network's feature maps; D = C. Source: ours.

    Args:
        maps: (N, C, h, w).
    Raises:
        ValueError: not finite.
    """
    return _of_patches(list(maps.detach().to("cpu", torch.float64).flatten(2).transpose(1, 2)))


def _of_patches(patches: list[Tensor]) -> Signature:
    """Of (P, D) float64 patches of each picture; every picture counts the same."""
    mean = torch.stack([p.mean(dim=0) for p in patches]).mean(dim=0)
    if not bool(torch.isfinite(mean).all()):
        raise ValueError("latents or maps are not finite")
    centred = [p - mean for p in patches]
    covariance = torch.stack([c.T @ c / len(c) for c in centred]).mean(dim=0)
    return Signature(mean, (covariance + covariance.T) / 2)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def distance(a: Signature, b: Signature) -> float:
    """2-Wasserstein distance of two Gaussians, the square root of the Fréchet distance; a metric, never NaN.

        d^2 = |m_a - m_b|^2 + tr C_a + tr C_b - 2 tr (C_a^1/2 C_b C_a^1/2)^1/2

    The covariance part is computed as |C_a^1/2 - C_b^1/2 U|^2 with the rotation U that makes it smallest: the same
    number, but nothing cancels where the two are close.

    Source: Fréchet distance, arXiv:1706.08500; as an orthogonal Procrustes problem, arXiv:1712.01504.

    Returns:
        a distance in scaled latent units, >= 0; 0 at equality.
    Raises:
        ValueError: signatures of different length, so of VAEs with different channels.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"signatures of length {len(a.mean)} and {len(b.mean)} cannot be compared")
    root_a, root_b = _root(a.covariance), _root(b.covariance)
    left, _, right = torch.linalg.svd(root_b @ root_a)
    spread = torch.linalg.matrix_norm(root_a - root_b @ left @ right)
    between = float(torch.hypot(torch.linalg.vector_norm(a.mean - b.mean), spread))
    return between if between > _SAME else 0.0


def style_score(drawn: Signature, style: Signature, base: Signature) -> float:
    """clip(1 - distance(drawn, style) / distance(base, style), 0, 1): the part of the way from the base to the style.

    A linear scale in latent units, for following one style over time; scores of two styles are not comparable, since
    each is measured against its own distance from the base. See the limits at the top of this file. Source: ours.

    Args:
        drawn: of pictures drawn with the style's trigger.
        style: of the style's own training pictures.
        base: of pictures the bare base draws from the same prompts and seeds, without a trigger.
    Returns:
        0 = no nearer to the style than the base, 1 = the statistics of the training pictures. Where the base already
        has the style's statistics: 1 if the drawn pictures have them too, else 0.
    """
    off, whole = distance(drawn, style), distance(base, style)
    if whole == 0:
        return 1.0 if off == 0 else 0.0
    return min(1.0, max(0.0, 1 - off / whole))


def statistics_shift(now: Signature, before: Signature, base: Signature) -> float:
    """distance(now, before) / distance(before, base): how far pictures of one trigger have moved; >= 0. Source: ours.

    At 1 they have moved as far as the style lies from the base. Where the style was drawn as the base draws there is
    no scale: 0 if nothing moved, else 1.

    Args:
        now, before: of pictures that the museum draws now and drew before, from the same prompts and seeds.
        base: of what the bare base draws for them without a trigger.
    """
    moved, whole = distance(now, before), distance(before, base)
    return moved / whole if whole > 0 else float(moved > 0)


def signatures_of(records: Iterable[StyleRecord]) -> dict[str, Signature]:
    """Of the styles that have one, in order.

    Raises:
        MuseumFileError: what is kept is no signature.
    """
    return {record.name: Signature.from_dict(record.signature) for record in records if record.signature}
