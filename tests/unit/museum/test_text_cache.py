"""Text states that no training changes are computed once; those of a slot that is learned in every step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from museum_plugin.base.encode import encode_prompts, token_embedding
from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.museum import text_cache
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.museum.triggers import single_token
from tests.tiny_museums import WORDS, tiny_museum

OPEN, CLOSED = f"a cat in {WORDS['neon']} style", f"a cat in {WORDS['ink']} style"
PROMPTS = (OPEN, "a dog", CLOSED, OPEN)
PLAIN = (False, False, False, True)


@pytest.fixture
def museum(base: BaseModel) -> Museum:
    """It knows ink, and neon is being taught."""
    found = tiny_museum(base, "ink")
    found.slots.open("neon", (WORDS["neon"],), (single_token(base, WORDS["neon"]),), "own")
    return found


def encoded(base: BaseModel, rows: list[int], cache: StateCache) -> Tensor:
    """The states of a step; `rows` grows by the prompts that each pass of the text encoder reads."""
    hook = token_embedding(base.text_encoders[0]).register_forward_hook(lambda *seen: rows.append(len(seen[1][0])))
    states = cache.training_states(PROMPTS, PLAIN).states
    hook.remove()
    return states


def test_they_are_those_of_the_uncached_pass(base: BaseModel, museum: Museum) -> None:
    cache = StateCache(museum, TextEncoding())
    with museum.attached():
        with museum.slots.plain(PLAIN):
            expected = encode_prompts(base, PROMPTS).states
        for _ in range(2):
            found = cache.training_states(PROMPTS, PLAIN).states
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found[0] - found[3]).abs().max() > 1e-3  # the same prompt with and without its slot


def test_the_slot_learns_as_without_a_cache(base: BaseModel, museum: Museum) -> None:
    cache, (vector,) = StateCache(museum, TextEncoding()), museum.open_parameters("neon")
    weights = torch.randn(4, 77, 16, generator=torch.Generator().manual_seed(0))
    with museum.attached():
        with museum.slots.plain(PLAIN):
            (expected,) = torch.autograd.grad((encode_prompts(base, PROMPTS).states * weights).sum(), vector)
        cache.training_states(PROMPTS, PLAIN)
        (found,) = torch.autograd.grad((cache.training_states(PROMPTS, PLAIN).states * weights).sum(), vector)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_only_an_open_slot_goes_through_the_encoder_again(base: BaseModel, museum: Museum) -> None:
    cache, rows = StateCache(museum, TextEncoding()), list[int]()
    with museum.attached():
        encoded(base, rows, cache)
        assert sorted(rows) == [1, 1, 1, 1]
        rows.clear()
        with torch.no_grad():
            museum.open_parameters("neon")[0].add_(1.0)
        before = encoded(base, rows, cache)
        assert rows == [1]
        museum.slots.close("neon")
        after = encoded(base, rows, cache)
    assert torch.equal(before, after)


def test_a_trigger_that_is_cut_off_is_no_reason_to_encode_again(base: BaseModel, museum: Museum) -> None:
    cache, rows = StateCache(museum, TextEncoding()), list[int]()
    hook = token_embedding(base.text_encoders[0]).register_forward_hook(lambda *seen: rows.append(1))
    with museum.attached():
        for _ in range(2):
            cache.training_states(["a cat " * 75 + WORDS["neon"]], [False])
    hook.remove()
    assert len(rows) == 1


def test_states_do_not_depend_on_what_was_asked_before(museum: Museum) -> None:
    one, other = StateCache(museum, TextEncoding()), StateCache(museum, TextEncoding())
    with museum.attached():
        one.states(["a fish", "a dog", "a red cat"])
        assert torch.equal(one.states(["a dog"]).states, other.states(["a dog"]).states)


def test_captions_without_end_do_not_fill_the_memory(museum: Museum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_cache, "_PROMPTS", 2)
    cache = StateCache(museum, TextEncoding())
    with museum.attached():
        for number in range(4):
            last = cache.training_states([f"a cat number {number}"], [False]).states
        assert torch.equal(last, cache.training_states(["a cat number 3"], [False]).states)
    assert len(cache._states[True]) == 2
