"""How much of a rank is in use, by hand and on museums whose directions are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.fullness import directions_for, effective_rank, fullness, fullness_of
from museum_plugin.museum.resize import resized
from museum_plugin.museum.store import content_of
from tests.tiny_museums import tiny_museum


def test_by_hand() -> None:
    assert effective_rank(torch.tensor([3.0, 1.0])) == pytest.approx(16 / 10)
    assert [directions_for(torch.tensor([70.0, 20.0, 10.0]), share) for share in (0.5, 0.7, 0.9, 0.91, 1.0)] == [
        1, 1, 2, 3, 3,
    ]  # fmt: skip


def test_equal_directions_count_whole_and_the_scale_not_at_all() -> None:
    assert effective_rank(torch.full((5,), 0.3)) == pytest.approx(5)
    assert effective_rank(torch.tensor([7.0, 0.0, 0.0])) == pytest.approx(1)
    some = torch.tensor([4.0, 2.0, 0.5])
    assert effective_rank(some * 1e-20) == pytest.approx(effective_rank(some), rel=1e-6)
    assert effective_rank(torch.zeros(3)) == 0


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_no_measure_exceeds_the_rank(energies: list[float]) -> None:
    values = torch.tensor(sorted(energies, reverse=True), dtype=torch.float64)
    assert 1 - 1e-9 <= effective_rank(values) <= len(energies) + 1e-9
    assert 1 <= directions_for(values, 0.99) <= len(energies)


def test_of_all_layers() -> None:
    energies = {"a": torch.tensor([1.0, 1.0]), "b": torch.tensor([1.0, 0.0]), "idle": torch.zeros(2)}
    found = fullness_of(energies, {"a": 4, "b": 2, "idle": 9})
    assert found is not None
    assert (found.layers, found.rank, found.effective_rank, found.least, found.most) == (2, 3.0, 1.5, 1.0, 2.0)
    assert found.directions == 1.5
    assert fullness_of({"idle": torch.zeros(2)}, {"idle": 2}) is None


def test_more_rank_is_room_that_is_not_in_use(base: BaseModel) -> None:
    content = content_of(tiny_museum(base, "ink"))
    before, after = fullness(content), fullness(resized(content, 8, None)[0])
    assert before is not None
    assert after is not None
    assert (before.rank, after.rank) == (2, 8)
    assert after.effective_rank == pytest.approx(before.effective_rank, rel=1e-5)


def test_a_museum_that_does_nothing_is_not_full(base: BaseModel) -> None:
    content = content_of(tiny_museum(base, "ink"))
    idle = {name: torch.zeros_like(tensor) if "lora_up" in name else tensor for name, tensor in content.lora.items()}
    assert fullness(replace(content, lora=idle)) is None
