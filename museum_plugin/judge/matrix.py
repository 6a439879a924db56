"""The retention matrix and what is read from it: R[i][j], the score of style j after learning style i, j <= i."""

from __future__ import annotations

import math
from collections.abc import Sequence

Matrix = Sequence[Sequence[float | None]]
"""The lower triangle: row i has i + 1 scores; None where a style was not judged."""


def average_forgetting(matrix: Matrix) -> float:
    """mean over the old styles j of max_i R[i][j] - R[last][j], in score units; 0 = nothing was forgotten.

    Source: arXiv:1801.10112; here the last row counts among the i, so the result is >= 0. The newest style
    cannot be forgotten yet and is left out, and so is one that the last row does not know; 0 where none is left.
    """
    columns = [[row[j] for row in matrix[j:]] for j in range(len(matrix) - 1)]
    return _mean([max(s for s in column if s is not None) - column[-1] for column in columns if column[-1] is not None])


def backward_transfer(matrix: Matrix) -> float:
    """mean over the old styles j of R[last][j] - R[j][j], in score units; below 0: later styles did harm.

    Source: GEM, arXiv:1706.08840. Styles that were not judged at both times are left out; 0 where none is left.
    """
    pairs = [(matrix[-1][j], matrix[j][j]) for j in range(len(matrix) - 1)]
    return _mean([now - was for now, was in pairs if now is not None and was is not None])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def kept_share(now: float, was: float) -> float:
    """min(1, now / was): what a style keeps of its score; 1 where there was nothing to lose."""
    return min(1.0, now / was) if was > 0 else 1.0


def percent(share: float) -> str:
    """A share for reading, rounded down, so that 100 % is never said of less."""
    return f"{math.floor(100 * share + 1e-9)} %"
