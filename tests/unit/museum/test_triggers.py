"""Which words may open a slot."""

from __future__ import annotations

import pytest

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError
from museum_plugin.museum import triggers
from museum_plugin.museum.triggers import choose_words, ordinary_words, single_token, slot_words
from tests.tiny_models import TINY_SLOT_WORDS

ONE, TWO, THREE = TINY_SLOT_WORDS


def test_the_words_are_those_asked_for(base: BaseModel) -> None:
    assert choose_words(base, ONE, 1, []) == (ONE,)
    assert choose_words(base, f" {TWO.upper()}  {ONE} ", 2, [THREE]) == (TWO, ONE)
    assert single_token(base, ONE) != single_token(base, TWO)


def test_auto_takes_the_next_free_words(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "slot_words", lambda: ("notatoken", *TINY_SLOT_WORDS))
    assert choose_words(base, "auto", 1, []) == (ONE,)
    assert choose_words(base, "auto", 2, [ONE]) == (TWO, THREE)
    with pytest.raises(ConfigError, match="no slot word is free"):
        choose_words(base, "auto", 2, [ONE, TWO])


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


def test_advice_names_a_word_that_is_free(base: BaseModel) -> None:
    with pytest.raises(ConfigError, match=f"such as '{slot_words()[1]}'"):
        choose_words(base, "dog", 1, [slot_words()[0]])


def test_no_slot_word_is_an_ordinary_one() -> None:
    assert len(set(slot_words())) == len(slot_words()) >= 40
    assert not set(slot_words()) & ordinary_words()
    assert {"cat", "style", "the"} <= ordinary_words()
