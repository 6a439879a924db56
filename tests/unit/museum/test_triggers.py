"""Which words may open a slot."""

from __future__ import annotations

import pytest

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError
from museum_plugin.museum import triggers
from museum_plugin.museum.triggers import SHELF, choose_words, ordinary_words, single_token, slot_words, walk
from tests.tiny_models import TINY_SLOT_WORDS

ONE, TWO, THREE = TINY_SLOT_WORDS


def test_the_words_are_those_asked_for(base: BaseModel) -> None:
    assert choose_words(base, ONE, 1, []) == (ONE,)
    assert choose_words(base, f" {TWO.upper()}  {ONE} ", 2, [THREE]) == (TWO, ONE)
    assert single_token(base, ONE) != single_token(base, TWO)


@pytest.fixture
def tiny_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four slot words, of which the tiny base knows three."""
    monkeypatch.setattr(triggers, "slot_words", lambda: ("notatoken", *TINY_SLOT_WORDS))


@pytest.mark.usefixtures("tiny_words")
def test_auto_takes_the_next_free_words(base: BaseModel) -> None:
    order = walk("a", TINY_SLOT_WORDS)
    assert choose_words(base, "auto", 1, [], "a") == order[:1]
    assert choose_words(base, "auto", 2, order[:1], "a") == order[1:]
    firsts = {choose_words(base, "auto", 1, [], str(number)) for number in range(20)}
    assert firsts == {(ONE,), (TWO,), (THREE,)}


@pytest.mark.usefixtures("tiny_words")
@pytest.mark.parametrize(
    ("taken", "named"),
    [
        ([ONE, TWO], "slot_vectors is 2, but only 1 of 3 slot words are free in this museum"),
        ([ONE, TWO, THREE], "all 3 slot words that this base model knows are taken"),
    ],
)
def test_why_auto_finds_no_words(base: BaseModel, taken: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named}.*; give one with --trigger"):
        choose_words(base, "auto", 2, taken)


def test_a_tokenizer_that_knows_no_slot_word_is_named_as_the_reason(base: BaseModel) -> None:
    with pytest.raises(ConfigError, match=f"tokenizer of this base model knows none of the {len(slot_words())} slot"):
        choose_words(base, "auto", 1, [])
    with pytest.raises(ConfigError, match="ordinary word.*; choose another word$"):  # no slot word is advised
        choose_words(base, "dog", 1, [])


def test_a_museum_takes_the_words_of_one_shelf_first_and_all_in_the_end() -> None:
    words, shelves = slot_words(), set[frozenset[str]]()
    for number in range(200):
        order = walk(f"museum {number}", words)
        assert sorted(order) == sorted(words)
        assert order == walk(f"museum {number}", words)
        shelves.add(frozenset(order[:SHELF]))
    assert len(shelves) == len(words) // SHELF == 7
    assert sum(map(len, shelves)) == len(frozenset().union(*shelves))  # no two shelves share a word


@pytest.mark.parametrize(("styles", "at_most"), [(1, 0.03), (2, 0.08), (6, 0.16)])
def test_two_museums_seldom_share_a_word(styles: int, at_most: float) -> None:
    taken = [set(walk(f"{number:032x}", slot_words())[:styles]) for number in range(300)]
    pairs = [bool(one & other) for i, one in enumerate(taken) for other in taken[:i]]
    assert 0 < sum(pairs) / len(pairs) <= at_most


@pytest.mark.parametrize(
    ("trigger", "vectors", "named"),
    [
        (THREE, 1, "exists already"),
        ("dog", 1, "ordinary word"),
        ("!", 1, "ordinary word"),
        ("777", 1, "ordinary word"),
        ("a", 1, "ordinary word"),
        ("in", 1, "ordinary word"),
        ("xqzzyv", 1, "not one token"),
        ("<|startoftext|>", 1, "not one token"),
        ("<|endoftext|>", 1, "not one token"),
        (f"{ONE} {TWO}", 1, "2 words, but slot_vectors is 1"),
        (ONE, 2, "1 words, but slot_vectors is 2"),
        (f"{ONE} {ONE}", 2, "twice"),
    ],
)
def test_a_word_that_cannot_be_a_trigger(base: BaseModel, trigger: str, vectors: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        choose_words(base, trigger, vectors, [THREE])


@pytest.mark.usefixtures("tiny_words")
def test_advice_names_a_word_that_is_free(base: BaseModel) -> None:
    first, second, _ = walk("a", TINY_SLOT_WORDS)
    with pytest.raises(ConfigError, match=f"such as '{second}'"):
        choose_words(base, "dog", 1, [first], "a")


def test_no_slot_word_is_an_ordinary_one() -> None:
    assert len(set(slot_words())) == len(slot_words()) >= 40
    assert not set(slot_words()) & ordinary_words()
    assert {"cat", "style", "the"} <= ordinary_words()
