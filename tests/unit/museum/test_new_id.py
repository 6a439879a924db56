"""The id that a new museum gets, so that museums of one folder take different words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from museum_plugin.config.arguments import POCKET_MODEL
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.new_id import new_museum_id
from museum_plugin.museum.triggers import SHELF, choose_words, known_words, walk
from tests.unit.museum.museum_files import museum, style


class Pocket:
    """The tokenizer of the pocket model, which knows all slot words."""

    tokenizers = (CLIPTokenizer.from_pretrained(POCKET_MODEL / "tokenizer"),)


@pytest.fixture(scope="module")
def words() -> tuple[str, ...]:
    return known_words(Pocket())


def write(path: Path, museum_id: str, *held: str) -> None:
    content = museum(*(style(f"style {word}", word) for word in held))
    write_museum(path, replace(content, ledger=replace(content.ledger, museum_id=museum_id)), keep_history=0)


def test_the_same_museum_gets_the_same_id_and_another_one_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    found = new_museum_id(path, Pocket(), "sd15", "ink")
    assert len(found) == 32
    assert int(found, 16)
    assert new_museum_id(path, Pocket(), "sd15", "ink") == found
    others = {
        new_museum_id(tmp_path / "other.safetensors", Pocket(), "sd15", "ink"),
        new_museum_id(path, Pocket(), "sd21", "ink"),
        new_museum_id(path, Pocket(), "sd15", "neon"),
    }
    assert len(others | {found}) == 4


def test_seven_museums_of_one_folder_share_no_word(tmp_path: Path, words: tuple[str, ...]) -> None:
    taken: list[str] = []
    for number in range(len(words) // SHELF):
        path = tmp_path / f"museum {number}.safetensors"
        found = new_museum_id(path, Pocket(), "sd15", "ink")
        own: list[str] = []
        for _ in range(SHELF):
            own += choose_words(Pocket(), "auto", 1, own, found)
        write(path, found, own[0])  # what it takes later counts as well
        taken += own
    assert len(set(taken)) == len(taken) == 42


def test_words_that_a_museum_beside_holds_are_passed_over(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "mine.safetensors"
    alone = new_museum_id(path, Pocket(), "sd15", "ink")
    write(path, "itself", *walk(alone, words)[:2])
    assert new_museum_id(path, Pocket(), "sd15", "ink") == alone
    (tmp_path / "damaged.safetensors").write_bytes(b"scribble")
    write(tmp_path / "other.safetensors", "other", walk(alone, words)[3])
    held = {*walk("other", words)[:SHELF], walk(alone, words)[3]}
    beside = new_museum_id(path, Pocket(), "sd15", "ink")
    assert beside != alone
    assert not held & set(walk(beside, words)[:SHELF])
