"""The retention matrix and its two averages, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from museum_plugin.errors import MuseumFileError
from museum_plugin.judge.matrix import average_forgetting, backward_transfer, percent, retention_matrix

ROWS = [{"ink": 0.8}, {"ink": 0.9, "dots": 0.6}, {"dots": 0.5, "neon": 0.7, "ink": 0.4, "gone": 1.0}]
NAMES = ["ink", "dots", "neon"]
MATRIX = [[0.8], [0.9, 0.6], [0.4, 0.5, 0.7]]


def test_rows_become_a_lower_triangle_in_the_order_of_names() -> None:
    assert retention_matrix(ROWS, NAMES) == MATRIX
    assert retention_matrix([], []) == []


def test_a_score_that_was_never_measured_is_named() -> None:
    with pytest.raises(MuseumFileError, match="no score of ink after learning dots"):
        retention_matrix([{"ink": 0.8}, {"dots": 0.6}], ["ink", "dots"])


def test_as_many_rows_as_names() -> None:
    with pytest.raises(ValueError, match="2 rows of scores for 3 styles"):
        retention_matrix(ROWS[:2], NAMES)


def test_forgetting_is_the_loss_since_the_best_of_each_old_style() -> None:
    assert average_forgetting(MATRIX) == pytest.approx(((0.9 - 0.4) + (0.6 - 0.5)) / 2)


def test_forgetting_is_never_negative() -> None:
    assert average_forgetting([[0.2], [0.9, 0.3]]) == 0


def test_transfer_is_the_change_since_each_old_style_was_learned() -> None:
    assert backward_transfer(MATRIX) == pytest.approx(((0.4 - 0.8) + (0.5 - 0.6)) / 2)
    assert backward_transfer([[0.2], [0.9, 0.3]]) == pytest.approx(0.7)


@pytest.mark.parametrize("matrix", [[], [[0.3]]])
def test_without_an_old_style_nothing_is_forgotten(matrix: list[list[float]]) -> None:
    assert average_forgetting(matrix) == 0
    assert backward_transfer(matrix) == 0


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.9999, "99 %"), (0.29, "29 %"), (0.57, "57 %"), (0.0, "0 %")]
)
def test_percent_never_promises_more_than_there_is(share: float, text: str) -> None:
    assert percent(share) == text
