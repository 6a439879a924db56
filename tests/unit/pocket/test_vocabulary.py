"""The pocket tokenizer behaves as CLIP's."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from museum_plugin.pocket.vocabulary import build_tokenizer, merges_for, vocabulary_words


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return build_tokenizer(["nlwx", "rctid"], tmp_path_factory.mktemp("tokenizer"))


def test_known_words_and_slot_words_are_one_token_each(tokenizer: CLIPTokenizer) -> None:
    words = vocabulary_words(["nlwx", "rctid"])
    ids = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
    assert all(len(found) == 1 for found in ids)
    assert len({found[0] for found in ids}) == len(words)


def test_capitals_and_punctuation_change_nothing(tokenizer: CLIPTokenizer) -> None:
    plain = tokenizer("a red cat").input_ids
    assert tokenizer("A Red CAT").input_ids == plain
    assert tokenizer("a red cat,").input_ids[:-2] == plain[:-1]


@pytest.mark.parametrize("text", ["zebra", "éclair", "日本", "a_b-c 12", "🙂"])
def test_any_text_can_be_encoded(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert len(ids) > 0
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_prompts_are_padded_to_77_with_start_and_end(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a cat", padding="max_length").input_ids
    assert len(ids) == 77
    assert ids[0] == tokenizer.bos_token_id
    assert ids[3:] == [tokenizer.eos_token_id] * 74


def test_a_later_word_never_splits_an_earlier_one() -> None:
    few, many = merges_for(["cat"]), merges_for(["cat", "catalog", "act", "tac"])
    assert many[: len(few)] == few


def test_the_saved_folder_loads_as_it_was_built(tmp_path: Path) -> None:
    built = build_tokenizer(["nlwx"], tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a purple umbrella at night in nlwx style"
    assert loaded(text).input_ids == built(text).input_ids
    assert (tmp_path / "vocab.json").is_file()
    assert (tmp_path / "merges.txt").is_file()
