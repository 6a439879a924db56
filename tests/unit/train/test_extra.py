"""Rounds of extra steps."""

from __future__ import annotations

import pytest

from museum_plugin.train.extra import round_ends


@pytest.mark.parametrize(("extra", "ends"), [(8, [2, 4, 6, 8]), (10, [2, 5, 7, 10]), (3, [1, 2, 3]), (1, [1])])
def test_there_are_four_rounds_as_even_as_can_be(extra: int, ends: list[int]) -> None:
    assert round_ends(extra) == ends
