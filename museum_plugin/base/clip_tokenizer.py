"""The tokenizers of a base model. Nothing is downloaded.

That of a checkpoint, which brings none, is looked for in this order: a folder `tokenizer` beside the checkpoint, the
folder of --tokenizer_cache_dir, CLIP's own vocabulary, which is part of the package.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from museum_plugin.base.family import END_TOKEN, FIRST_TOKEN, Family
from museum_plugin.errors import BaseModelError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

log = logging.getLogger("museum")

_MERGES_FILE = Path(__file__).with_name("clip_bpe.txt.gz")
_VOCABULARY = 49408
_START, _END = "<|startoftext|>", END_TOKEN
_END_OF_WORD = "</w>"
_CACHE_NAMES = {
    "clip_l": ("openai_clip-vit-large-patch14",),
    "clip_h": ("stabilityai_stable-diffusion-2", "stabilityai_stable-diffusion-2/tokenizer"),
    "clip_g": ("laion_CLIP-ViT-bigG-14-laion2B-39B-b160k",),
}
"""Folders that sd-scripts makes below --tokenizer_cache_dir."""


def find_tokenizers(checkpoint: Path, family: Family, cache_dir: Path | None) -> tuple[CLIPTokenizer, ...]:
    """The first tokenizer of the order above, for each text encoder.

    Raises:
        BaseModelError: one is found and cannot be read.
    """
    return tuple(_find(checkpoint, family, number, cache_dir) for number in range(len(family.text_parts)))


def _find(checkpoint: Path, family: Family, number: int, cache_dir: Path | None) -> CLIPTokenizer:
    folders, padding = family.tokenizer_folders[number::-1], family.paddings[number]
    forced = padding if number else None  # a second one may be read from the folder of the first
    places = [checkpoint.parent / folder for folder in folders]
    if cache_dir is not None:
        names = _CACHE_NAMES[family.slot_encoders[number]]
        places += [*(cache_dir / name for name in names), cache_dir, *(cache_dir / folder for folder in folders)]
    for place in places:
        if _has_files(place):
            log.info("tokenizer: %s", place)
            told = (place / "tokenizer_config.json").is_file()
            return read_tokenizer(place, forced if told else padding)
    if cache_dir is not None:
        log.info("tokenizer: %s holds no vocab.json and merges.txt; CLIP's own vocabulary is used", cache_dir)
    return clip_tokenizer(padding)


def clip_tokenizer(padding: str) -> CLIPTokenizer:
    """CLIP's tokenizer: 49,408 tokens, 77 positions.

    Args:
        padding: the token that fills up a prompt: "!" (0) for OpenCLIP's text encoders, the end token for OpenAI's.

    Source: the vocabulary is that of OpenAI's CLIP, as open_clip ships it (see NOTICE).
    """
    vocabulary, merges = clip_vocabulary()
    return _build(vocabulary, [(first, second) for first, second in map(str.split, merges)], padding)


def clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Token -> number, and the merge rules ("i n") by rank.

    The order is CLIP's: 256 symbols, the same at the end of a word, what each rule makes, start and end.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in printable]
    symbols = [*map(chr, printable), *(chr(256 + i) for i in range(len(unseen)))]
    count = _VOCABULARY - 2 * len(symbols) - 2
    merges = gzip.decompress(_MERGES_FILE.read_bytes()).decode("utf-8").split("\n")[1 : count + 1]
    made = ["".join(rule.split()) for rule in merges]
    tokens = [*symbols, *(symbol + _END_OF_WORD for symbol in symbols), *made, _START, _END]
    return {token: i for i, token in enumerate(tokens)}, merges


def read_tokenizer(folder: Path, padding: str | None = None) -> CLIPTokenizer:
    """The tokenizer of a folder. A "!" in a prompt is a word, also where "!" is what fills up prompts.

    Args:
        padding: the token that fills up a prompt; None: as the folder says.
    Raises:
        BaseModelError: it cannot be read.
    """
    from transformers import CLIPTokenizer

    try:
        if padding is None:
            found = CLIPTokenizer.from_pretrained(folder)
            if found.pad_token != FIRST_TOKEN:
                return found
            padding = FIRST_TOKEN
        if _has_files(folder):
            return _build(str(folder / "vocab.json"), str(folder / "merges.txt"), padding)
        found = CLIPTokenizer.from_pretrained(folder)
        found.pad_token = padding
        return found
    except Exception as error:  # the library raises whatever its parser does
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BaseModelError(f"{folder}: the tokenizer cannot be read: {reason}") from error


def check_tokenizers(path: Path, tokenizers: Sequence[CLIPTokenizer]) -> None:
    """Refuse tokenizers that number words differently: a slot has one token for all text encoders.

    Raises:
        BaseModelError: they do.
    """
    first = tokenizers[0].get_vocab()
    if any(tokenizer.get_vocab() != first for tokenizer in tokenizers[1:]):
        raise BaseModelError(f"{path}: its two tokenizers do not know the same words; are they of one model?")


def _has_files(folder: Path) -> bool:
    return (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()


def _build(vocabulary: Any, merges: Any, padding: str) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer(
        vocabulary, merges, model_max_length=77, unk_token=_END, bos_token=_START, eos_token=_END, pad_token=_END
    )
    if padding != _END:
        tokenizer.pad_token = padding  # given above, it would be cut out of every prompt as a token of its own
    return tokenizer
