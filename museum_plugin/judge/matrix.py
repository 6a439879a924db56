"""The retention matrix and what is read from it: R[i][j], the score of style j after learning style i, j <= i."""

from __future__ import annotations

import math
from collections.abc import Sequence

from museum_plugin.errors import MuseumFileError

Matrix = Sequence[Sequence[float]]
"""The lower triangle: row i has i + 1 scores."""


def retention_matrix(rows: Sequence[dict[str, float]], names: Sequence[str]) -> list[list[float]]:
    """R[i][j] = rows[i][names[j]] for j <= i.

    Args:
        rows: the scores measured right after learning each style; scores of other styles are passed over.
        names: the styles in the order of learning.
    Returns:
        the lower triangle: row i has i + 1 scores.
    Raises:
        ValueError: rows and names are not equally many.
        MuseumFileError: a score was never measured.
    """
    if len(rows) != len(names):
        raise ValueError(f"{len(rows)} rows of scores for {len(names)} styles")
    for i, row in enumerate(rows):
        missing = [name for name in names[: i + 1] if name not in row]
        if missing:
            raise MuseumFileError(f"no score of {', '.join(missing)} after learning {names[i]}: it was never judged")
    return [[float(row[name]) for name in names[: i + 1]] for i, row in enumerate(rows)]


def average_forgetting(matrix: Matrix) -> float:
    """mean over the old styles j of max_i R[i][j] - R[last][j], in score units; 0 = nothing was forgotten.

    Source: arXiv:1801.10112; here the last row counts among the i, so the result is >= 0. The newest style
    cannot be forgotten yet and is left out; 0 where there is no old style.
    """
    old = range(len(matrix) - 1)
    if not old:
        return 0.0
    return sum(max(row[j] for row in matrix[j:]) - matrix[-1][j] for j in old) / len(old)


def backward_transfer(matrix: Matrix) -> float:
    """mean over the old styles j of R[last][j] - R[j][j], in score units; below 0: later styles did harm.

    Source: GEM, arXiv:1706.08840; 0 where there is no old style.
    """
    old = range(len(matrix) - 1)
    if not old:
        return 0.0
    return sum(matrix[-1][j] - matrix[j][j] for j in old) / len(old)


def kept_share(now: float, was: float) -> float:
    """min(1, now / was): what a style keeps of its score; 1 where there was nothing to lose."""
    return min(1.0, now / was) if was > 0 else 1.0


def percent(share: float) -> str:
    """A share for reading, rounded down, so that 100 % is never said of less."""
    return f"{math.floor(100 * share + 1e-9)} %"
