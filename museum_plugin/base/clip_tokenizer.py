"""The tokenizer of a checkpoint that brings none. Nothing is downloaded.

Looked for in this order: a folder `tokenizer` beside the checkpoint, the folder of --tokenizer_cache_dir, CLIP's own
vocabulary, which is part of the package.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from museum_plugin.base.family import SD2, Family
from museum_plugin.errors import BaseModelError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

log = logging.getLogger("museum")

_MERGES_FILE = Path(__file__).with_name("clip_bpe.txt.gz")
_VOCABULARY = 49408
_START, _END = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"
_CACHE_NAMES = {
    "sd1": ("openai_clip-vit-large-patch14",),
    "sd2": ("stabilityai_stable-diffusion-2", "stabilityai_stable-diffusion-2/tokenizer"),
}
"""Folders that sd-scripts makes below --tokenizer_cache_dir."""


def find_tokenizer(checkpoint: Path, family: Family, cache_dir: Path | None) -> CLIPTokenizer:
    """The first tokenizer of the order above.

    Raises:
        BaseModelError: one is found and cannot be read.
    """
    places = [checkpoint.parent / "tokenizer"]
    if cache_dir is not None:
        places += [*(cache_dir / name for name in _CACHE_NAMES[family.name]), cache_dir, cache_dir / "tokenizer"]
    for place in places:
        if (place / "vocab.json").is_file() and (place / "merges.txt").is_file():
            log.info("tokenizer: %s", place)
            return _read(place, family)
    if cache_dir is not None:
        log.info("tokenizer: %s holds no vocab.json and merges.txt; CLIP's own vocabulary is used", cache_dir)
    return clip_tokenizer(family)


def clip_tokenizer(family: Family) -> CLIPTokenizer:
    """CLIP's tokenizer: 49,408 tokens, 77 positions. SD2 pads with "!" (0), SD1 with the end token.

    Source: the vocabulary is that of OpenAI's CLIP, as open_clip ships it (see NOTICE).
    """
    vocabulary, merges = clip_vocabulary()
    return _build(vocabulary, [(first, second) for first, second in map(str.split, merges)], family)


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


def _read(folder: Path, family: Family) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    try:
        if (folder / "tokenizer_config.json").is_file():
            return CLIPTokenizer.from_pretrained(folder)
        return _build(str(folder / "vocab.json"), str(folder / "merges.txt"), family)
    except Exception as error:  # the library raises whatever its parser does
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BaseModelError(f"{folder}: the tokenizer cannot be read: {reason}") from error


def _build(vocabulary: Any, merges: Any, family: Family) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    return CLIPTokenizer(
        vocabulary,
        merges,
        model_max_length=77,
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token="!" if family is SD2 else _END,
    )
