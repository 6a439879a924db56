"""Rank correlation, by which measures are held against a classifier."""

from __future__ import annotations

import pytest

from benchmarks.judge_calibration import rank_correlation, ranks


def test_equal_values_share_their_rank() -> None:
    assert ranks([3.0, 1.0, 3.0, 9.0]).tolist() == [1.5, 0.0, 1.5, 3.0]


def test_only_the_order_counts() -> None:
    assert rank_correlation([1, 2, 3], [1, 10, 1000]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [0.3, 0.2, -5]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(0.8)  # 1 - 6 * 4 / (5 * 24)
    assert rank_correlation([1, 1], [1, 2]) == 0
