"""Which words may open a slot."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from museum_plugin.errors import ConfigError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

AUTO = "auto"
_SHORTEST = 3
"""Letters; "a" and "of" are in no list of words to know, but in every caption."""
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


def choose_words(base: Reader, trigger: str, vectors: int, taken: Iterable[str]) -> tuple[str, ...]:
    """The slot words of a new style, one for each vector.

    Args:
        trigger: the phrase the user asked for, or "auto" for the next free slot words.
        taken: words that other styles of this museum use.
    Raises:
        ConfigError: a word is taken, ordinary, or not a single token; or the number of words is not `vectors`.
    """
    taken = set(taken)
    if trigger == AUTO:
        free = [word for word in slot_words() if word not in taken and _is_one_token(base, word)]
        if len(free) < vectors:
            raise ConfigError("trigger: no slot word is free in this museum any more; give one with --trigger")
        return tuple(free[:vectors])
    words = tuple(trigger.lower().split())
    free_word = next((word for word in slot_words() if word not in taken), "nlwx")
    advice = f'choose a word that nobody types, such as {free_word!r}, or "auto"'
    if len(words) != vectors:
        raise ConfigError(
            f"trigger {trigger!r} has {len(words)} words, but slot_vectors is {vectors}: one word for each vector"
        )
    for word in words:
        if word in taken:
            raise ConfigError(f"trigger {word!r} exists already in this museum; {advice}")
        if word in ordinary_words() or len(word) < _SHORTEST or not any(letter.isalpha() for letter in word):
            raise ConfigError(f"trigger {word!r} is an ordinary word, prompts that mean it would change; {advice}")
        if not _is_one_token(base, word):
            raise ConfigError(f"trigger {word!r} is not one token of this base model, so no slot fits; {advice}")
    if len(set(words)) != len(words):
        raise ConfigError(f"trigger {trigger!r} says a word twice; {advice}")
    return words


def single_token(base: Reader, word: str) -> int:
    """The id of a word that is one token."""
    return base.tokenizers[0](word, add_special_tokens=False).input_ids[0]


def _is_one_token(base: Reader, word: str) -> bool:
    """Not the end-of-text token and its like, which every prompt holds."""
    found = [(tokenizer(word, add_special_tokens=False).input_ids, tokenizer) for tokenizer in base.tokenizers]
    return all(len(ids) == 1 and ids[0] not in tokenizer.all_special_ids for ids, tokenizer in found)
