"""Blocks that travel: each there when it is asked for, the next on its way, never more than two; and how many must."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from museum_plugin.base.carrier import Copies, carrier_to
from museum_plugin.base.swap import Shuttle, bytes_on_card, fewest_blocks, spread
from tests.counted_card import Card

CPU = torch.device("cpu")


def shuttle_of(card: Card, count: int) -> tuple[Shuttle, list[Tensor]]:
    shuttle, weights = Shuttle(card), [torch.full((4,), float(number)) for number in range(count)]
    for weight in weights:
        shuttle.add([weight])
    return shuttle, weights


def test_the_next_block_is_on_its_way_before_it_is_asked_for() -> None:
    card = Card()
    shuttle, weights = shuttle_of(card, 4)
    order = [0, 1, 2, 3, 2, 1]
    for number in order * 2:
        shuttle.tensors(number)
    for number, following in zip(order, [*order[1:], order[0]], strict=True):
        shuttle.tensors(number)
        assert card.sent[-1] == (id(weights[following]),)


def test_a_wrong_guess_changes_nothing_but_the_time() -> None:
    card = Card()
    shuttle, weights = shuttle_of(card, 5)
    rng = torch.Generator().manual_seed(0)
    for number in torch.randint(5, (200,), generator=rng).tolist():
        assert torch.equal(shuttle.tensors(number)[0], weights[number])
        assert card.bytes <= 2 * weights[0].nbytes
    assert card.lost == 0
    shuttle.rest()
    assert (card.bytes, card.lost) == (0, 0)


def test_the_same_block_is_brought_once_for_all_its_layers() -> None:
    card = Card()
    shuttle = Shuttle(card)
    shuttle.add([torch.ones(2), torch.zeros(3)])
    first, again = shuttle.tensors(0), shuttle.tensors(0)
    assert first is again
    assert len(card.sent) == 1


@pytest.mark.parametrize(
    ("blocks", "count", "expected"), [(6, 0, []), (6, 3, [0, 2, 4]), (7, 3, [0, 2, 4]), (4, 4, [0, 1, 2, 3])]
)
def test_swapped_blocks_are_evenly_apart(blocks: int, count: int, expected: list[int]) -> None:
    assert spread(blocks, count) == expected


def test_what_is_on_the_card_is_the_rest_and_the_two_largest_that_travel() -> None:
    sizes = [10, 1, 20, 2, 30, 3]
    assert bytes_on_card(sizes, 0) == 66
    assert bytes_on_card(sizes, 3) == 1 + 2 + 3 + 20 + 30
    assert bytes_on_card(sizes, 6) == 50


@pytest.mark.parametrize(("room", "expected"), [(66, 0), (65, 3), (56, 3), (55, 5), (50, 6), (49, None)])
def test_the_fewest_blocks_that_make_room(room: int, expected: int | None) -> None:
    assert fewest_blocks([10, 1, 20, 2, 30, 3], room) == expected


def test_plain_copies_are_copies_and_there_at_once() -> None:
    carrier, weight = Copies(CPU), torch.randn(3)
    kept = carrier.keep(weight)
    (found,) = carrier.send([kept]).tensors
    assert torch.equal(found, weight)
    assert found.data_ptr() != kept.data_ptr()
    assert Copies(torch.device("meta")).send([kept]).tensors[0].device.type == "meta"
    assert isinstance(carrier_to(CPU), Copies)
