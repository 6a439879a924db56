"""Which words may open a slot."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from museum_plugin.errors import ConfigError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

AUTO = "auto"
_SHORTEST = 3
"""Letters; "a" and "of" are in no list of words to know, but in every caption."""
SHELF = 6
"""Slot words that a museum takes before any other."""
_HERE = Path(__file__).parent


class Reader(Protocol):
    """Whatever reads prompts as a base model does: the model, or its folder."""

    @property
    def tokenizers(self) -> tuple[CLIPTokenizer, ...]: ...


@cache
def slot_words() -> tuple[str, ...]:
    """Words of CLIP's vocabulary that nobody types: one token each, in no dictionary."""
    return tuple(json.loads((_HERE / "slot_words.json").read_text(encoding="utf-8")))


@cache
def ordinary_words() -> frozenset[str]:
    """Common English words, which a trigger must not take away from the user."""
    return frozenset(gzip.decompress((_HERE / "ordinary_words.txt.gz").read_bytes()).decode().split())


def known_words(base: Reader) -> tuple[str, ...]:
    """The slot words that every tokenizer of a base model knows as one token."""
    return tuple(word for word in slot_words() if _is_one_token(base, word))


def walk(museum_id: str, words: Sequence[str]) -> tuple[str, ...]:
    """The words in the order in which a museum takes them.

    They stand in shelves of six; what is left over comes last. The id says with which shelf a museum begins, and with
    which word of it. So two museums of up to six styles that take their words from here share none unless both begin
    with the same shelf: one pair in seven, of CLIP's 47 words. Source: ours.

    Args:
        museum_id: any text; the same text gives the same order.
        words: in an order that is the same for all museums.
    """
    count = max(1, len(words) // SHELF)
    turn, first = divmod(int.from_bytes(hashlib.sha256(museum_id.encode()).digest()[:8], "big"), count)
    shelves = [words[i * SHELF : (i + 1) * SHELF] for i in range(count)]
    ordered = [word for shelf in shelves[first:] + shelves[:first] for word in _turned(shelf, turn)]
    return (*ordered, *words[count * SHELF :])


def _turned(shelf: Sequence[str], by: int) -> tuple[str, ...]:
    by %= max(1, len(shelf))
    return (*shelf[by:], *shelf[:by])


def choose_words(
    base: Reader,
    trigger: str,
    vectors: int,
    taken: Iterable[str],
    museum_id: str = "",
    retired: Iterable[str] = (),
) -> tuple[str, ...]:
    """The slot words of a new style, one for each vector.

    Args:
        trigger: the phrase the user asked for, or "auto" for the museum's next free slot words.
        taken: words that other styles of this museum use.
        museum_id: decides in which order the museum takes the slot words.
        retired: words of styles that were removed; nobody gets them again.
    Raises:
        ConfigError: a word is taken, retired, ordinary, or not a single token; or the number of words is not `vectors`.
    """
    taken, retired = set(taken), set(retired)
    known = walk(museum_id, known_words(base))
    free = [word for word in known if word not in taken | retired]
    if trigger == AUTO:
        if len(free) < vectors:
            raise ConfigError(f"trigger: {_why_none(len(known), len(free), vectors)}; give one with --trigger")
        return tuple(free[:vectors])
    words = tuple(trigger.lower().split())
    advice = f'choose a word that nobody types, such as {free[0]!r}, or "auto"' if free else "choose another word"
    if len(words) != vectors:
        raise ConfigError(
            f"trigger {trigger!r} has {len(words)} words, but slot_vectors is {vectors}: one word for each vector"
        )
    for word in words:
        if word in taken:
            raise ConfigError(f"trigger {word!r} exists already in this museum; {advice}")
        if word in retired:
            raise ConfigError(
                f"trigger {word!r} belonged to a style that was removed from this museum, and files published before "
                f"still mean that one; {advice}"
            )
        if word in ordinary_words() or len(word) < _SHORTEST or not any(letter.isalpha() for letter in word):
            raise ConfigError(f"trigger {word!r} is an ordinary word, prompts that mean it would change; {advice}")
        if not _is_one_token(base, word):
            raise ConfigError(f"trigger {word!r} is not one token of this base model, so no slot fits; {advice}")
    if len(set(words)) != len(words):
        raise ConfigError(f"trigger {trigger!r} says a word twice; {advice}")
    return words


def _why_none(known: int, free: int, vectors: int) -> str:
    """Why "auto" finds no words."""
    if not known:
        return f"the tokenizer of this base model knows none of the {len(slot_words())} slot words as one token"
    if free:
        return f"slot_vectors is {vectors}, but only {free} of {known} slot words are free in this museum"
    return f"all {known} slot words that this base model knows are taken in this museum"


def single_token(base: Reader, word: str) -> int:
    """The id of a word that is one token."""
    return base.tokenizers[0](word, add_special_tokens=False).input_ids[0]


def _is_one_token(base: Reader, word: str) -> bool:
    """Not the end-of-text token and its like, which every prompt holds."""
    found = [(tokenizer(word, add_special_tokens=False).input_ids, tokenizer) for tokenizer in base.tokenizers]
    return all(len(ids) == 1 and ids[0] not in tokenizer.all_special_ids for ids, tokenizer in found)
