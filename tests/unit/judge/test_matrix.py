"""The retention matrix and its two averages, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from museum_plugin.judge.matrix import average_forgetting, backward_transfer, kept_share, percent

MATRIX = [[0.8], [0.9, 0.6], [0.4, 0.5, 0.7]]
GAPS = [[None], [0.9, 0.6], [0.4, None, 0.7]]


def test_forgetting_is_the_loss_since_the_best_of_each_old_style() -> None:
    assert average_forgetting(MATRIX) == pytest.approx(((0.9 - 0.4) + (0.6 - 0.5)) / 2)


def test_forgetting_is_never_negative() -> None:
    assert average_forgetting([[0.2], [0.9, 0.3]]) == 0


def test_transfer_is_the_change_since_each_old_style_was_learned() -> None:
    assert backward_transfer(MATRIX) == pytest.approx(((0.4 - 0.8) + (0.5 - 0.6)) / 2)
    assert backward_transfer([[0.2], [0.9, 0.3]]) == pytest.approx(0.7)


def test_what_was_not_judged_is_left_out() -> None:
    assert average_forgetting(GAPS) == pytest.approx(0.9 - 0.4)
    assert backward_transfer(GAPS) == 0
    assert backward_transfer([[0.8], [None, 0.6], [0.4, 0.5, 0.7]]) == pytest.approx((0.4 - 0.8 + 0.5 - 0.6) / 2)


@pytest.mark.parametrize("matrix", [[], [[0.3]]])
def test_without_an_old_style_nothing_is_forgotten(matrix: list[list[float]]) -> None:
    assert average_forgetting(matrix) == 0
    assert backward_transfer(matrix) == 0


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.9999, "99 %"), (0.29, "29 %"), (0.57, "57 %"), (0.0, "0 %")]
)
def test_percent_never_promises_more_than_there_is(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_share_is_kept_of_what_there_was() -> None:
    assert kept_share(0.2, 0.8) == 0.25
    assert kept_share(0.9, 0.8) == 1
    assert kept_share(0.0, 0.0) == 1
