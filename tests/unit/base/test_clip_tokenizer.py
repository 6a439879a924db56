"""CLIP's tokenizer, and where the tokenizer of a checkpoint is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from museum_plugin.base.clip_tokenizer import clip_tokenizer, clip_vocabulary, find_tokenizers
from museum_plugin.base.family import SD1, SD2, Family
from museum_plugin.errors import BaseModelError
from museum_plugin.pocket.vocabulary import build_tokenizer


def first(checkpoint: Path, family: Family, cache: Path | None) -> CLIPTokenizer:
    return find_tokenizers(checkpoint, family, cache)[0]


def test_the_vocabulary_is_clip_s() -> None:
    vocabulary, merges = clip_vocabulary()
    assert (len(vocabulary), len(merges)) == (49408, 48894)
    assert (vocabulary["!"], vocabulary["a</w>"], vocabulary["<|endoftext|>"]) == (0, 320, 49407)


@pytest.mark.parametrize(("family", "padding"), [(SD1, 49407), (SD2, 0)])
def test_known_numbers(family: object, padding: int) -> None:
    tokenizer = clip_tokenizer(family.paddings[0])  # type: ignore[attr-defined]
    cat = [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("a photo of a cat").input_ids == cat
    assert tokenizer("A Photo of a  CAT", padding="max_length").input_ids == cat + [padding] * 70


def test_the_order_of_places(tmp_path: Path) -> None:
    checkpoint, cache = tmp_path / "model.safetensors", tmp_path / "cache"
    assert len(first(checkpoint, SD1, cache)) == 49408
    build_tokenizer(("one",), cache)
    flat = len(first(checkpoint, SD1, cache))
    build_tokenizer(("one", "two"), cache / "openai_clip-vit-large-patch14")
    named = len(first(checkpoint, SD1, cache))
    assert len(first(checkpoint, SD2, cache)) == flat
    build_tokenizer(("onea", "twob", "threec"), tmp_path / "tokenizer")
    beside = len(first(checkpoint, SD1, cache))
    assert 49408 > beside > named >= flat


def test_files_alone_are_enough(tmp_path: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        build_tokenizer(("blenthor",), tmp_path / "tokenizer")
        (tmp_path / "tokenizer" / file).unlink()
    found = first(tmp_path / "m.ckpt", SD2, None)
    assert found.model_max_length == 77
    assert len(found("blenthor").input_ids) == 3


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{", encoding="utf-8")
    (tmp_path / "merges.txt").write_text("a b c d\n", encoding="utf-8")
    with pytest.raises(BaseModelError, match="the tokenizer cannot be read"):
        find_tokenizers(tmp_path / "m.ckpt", SD1, tmp_path)
