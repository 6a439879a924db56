"""The rows of text states: taken apart, repeated and put together."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.base.text_states import TextStates


@pytest.fixture(params=[False, True], ids=["states alone", "pooled"])
def text(request: pytest.FixtureRequest) -> TextStates:
    pooled = torch.arange(6.0).view(3, 2) if request.param else None
    return TextStates(torch.arange(24.0).view(3, 4, 2), pooled)


def same(one: TextStates, other: TextStates) -> bool:
    if (one.pooled is None) != (other.pooled is None):
        return False
    pooled = one.pooled is None or other.pooled is None or torch.equal(one.pooled, other.pooled)
    return torch.equal(one.states, other.states) and pooled


def test_rows_put_together_are_the_whole(text: TextStates) -> None:
    assert len(text) == 3
    assert same(TextStates.cat(text.rows()), text)
    assert same(TextStates.cat([text[:1], text[1:]]), text)
    assert not same(TextStates.cat([text[1:], text[:1]]), text)


def test_a_prompt_is_repeated(text: TextStates) -> None:
    assert same(text[1:2].repeated(3), TextStates.cat([text[1:2]] * 3))


def test_both_parts_change_their_type(text: TextStates) -> None:
    half = text.to(torch.float16)
    assert half.states.dtype == torch.float16
    assert half.pooled is None or half.pooled.dtype == torch.float16
    assert same(half.to(torch.float32), text)
