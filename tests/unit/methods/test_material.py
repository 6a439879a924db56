"""What is measured on the bank."""

from __future__ import annotations

import pytest

from museum_plugin.methods.bank import Bank
from museum_plugin.methods.material import _each


@pytest.mark.parametrize(("styles", "each"), [(0, 48), (1, 48), (5, 48), (7, 36), (20, 13), (1000, 1)])
def test_what_is_measured_does_not_grow_with_the_styles(styles: int, each: int) -> None:
    groups = ["", *(f"style {i}" for i in range(styles))]
    assert _each(48, Bank(groups, [])) == each
