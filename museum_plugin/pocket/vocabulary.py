"""The pocket model's tokenizer: CLIP's byte-level BPE with a vocabulary of a few hundred tokens.

It behaves as CLIP's: lower-cased, 77 positions, start and end tokens, padding with the end token, every text encodable.
The words of this small world and the slot words are one token each; any other word falls apart into letters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from transformers import CLIPTokenizer

from museum_plugin.pocket.looks import LOOK_WORDS
from museum_plugin.pocket.scenes import COLORS, OBJECTS, PLACES

_END_OF_WORD = "</w>"
_WORDS = (  # noqa: SIM905
    "a an the of in at on with and to style picture photo painting drawing sketch flat "
    "big small two three sun moon sky hill sea water day black white grey brown pink "
    "dog horse person man woman face city street forest mountain river castle bridge"
).split()
SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")


def bytes_to_symbols() -> dict[int, str]:
    """GPT-2's printable symbol for each byte, which CLIP's vocabulary is written in."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    rest = (byte for byte in range(256) if byte not in symbols)
    symbols.update({byte: chr(256 + i) for i, byte in enumerate(rest)})
    return symbols


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merge rules that make each word a single token. A word's own rules rank before those of later words."""
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        parts = [*word[:-1], word[-1] + _END_OF_WORD]
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            ranks.setdefault(best, len(ranks))
            parts = _apply(parts, best)
    return list(ranks)


def _apply(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(parts[i])
            i += 1
    return merged


def vocabulary_words(slot_words: Iterable[str]) -> list[str]:
    """Every word that is one token, in a fixed order."""
    places = " ".join([*PLACES, *PLACES.values()]).split()
    return list(dict.fromkeys([*_WORDS, *LOOK_WORDS, *OBJECTS, *COLORS, *places, *slot_words]))


def build_tokenizer(slot_words: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Write vocab.json and merges.txt to `folder`, and the tokenizer made of them, in diffusers' layout.

    Args:
        slot_words: words for triggers; each becomes one token that no caption of the recipe holds.
        folder: the tokenizer folder of a diffusers model; created.
    """
    symbols = list(bytes_to_symbols().values())
    merges = merges_for(vocabulary_words(slot_words))
    tokens = [*symbols, *(s + _END_OF_WORD for s in symbols), *("".join(m) for m in merges), *SPECIAL_TOKENS]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocab_file.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = "\n".join(" ".join(merge) for merge in merges)
    merges_file.write_text(f"#version: 0.2\n{lines}\n", encoding="utf-8")
    start, end = SPECIAL_TOKENS
    tokenizer = CLIPTokenizer(
        str(vocab_file),
        str(merges_file),
        model_max_length=77,
        unk_token=end,
        bos_token=start,
        eos_token=end,
        pad_token=end,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
