"""Which style a picture shows, by the statistics of its latents: what each trigger draws, and as what it is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from museum_plugin.judge.signature import Signature, distance, signature

Confusion = dict[str, dict[str, float]]
"""Drawn with this trigger -> judged as this style -> share of the pictures."""


def confusion_matrix(drawn: Mapping[str, Tensor], seen_as: Mapping[str, Signature]) -> Confusion:
    """For each set of pictures, the share of them that is nearest to each signature; a row sums to 1. Source: ours.

    Args:
        drawn: name -> (N, C, h, w) latents.
        seen_as: what a picture may be judged as; the earlier one of equals.
    Raises:
        ValueError: no picture, or nothing to judge it as.
    """
    if not seen_as:
        raise ValueError("there is no signature to judge a picture by")
    return {name: _shares(latents, seen_as) for name, latents in drawn.items()}


def _shares(latents: Tensor, seen_as: Mapping[str, Signature]) -> dict[str, float]:
    if not len(latents):
        raise ValueError("there is no picture to judge")
    counts: Counter[str] = Counter()
    for picture in latents:
        own = signature([picture])
        counts[min(seen_as, key=lambda name: distance(own, seen_as[name]))] += 1
    return {name: counts[name] / len(latents) for name in seen_as}


def recognized(confusion: Confusion) -> float:
    """Mean share of the pictures that are judged as the style whose trigger drew them, 0..1."""
    return sum(row.get(name, 0.0) for name, row in confusion.items()) / len(confusion)
