"""A style leaves a museum: what stays is untouched, and the file says what went."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError, MuseumFileError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.latest_scores import changed_scores, scores_now
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.removal import DISTILLED, ledger_without, without_style
from museum_plugin.museum.store import content_of, open_museum
from museum_plugin.museum.triggers import choose_words, known_words
from tests.tiny_museums import WORDS, prediction, tiny_museum

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
SCORES = {"ink": {"ink": 0.8}, "neon": {"ink": 0.7, "neon": 0.9}, "dots": {"ink": 0.6, "neon": 0.85, "dots": 0.5}}


@pytest.fixture(scope="module")
def content(base: BaseModel) -> MuseumContent:
    found = content_of(tiny_museum(base, "ink", "neon", "dots"))
    styles = tuple(replace(record, scores=SCORES[record.name]) for record in found.ledger.styles)
    return replace(found, ledger=replace(found.ledger, styles=styles))


def test_everything_else_stays_bit_for_bit(base: BaseModel, content: MuseumContent, tmp_path: Path) -> None:
    after = without_style(content, "neon")
    for number, each in enumerate((content, after)):
        write_museum(tmp_path / f"{number}.safetensors", each, keep_history=0)
    found = read_museum(tmp_path / "1.safetensors")
    assert set(found.slots) == set(found.base_rows) == {"ink", "dots"}
    assert found.ledger.styles == (content.ledger.styles[0], content.ledger.styles[2])
    assert all(torch.equal(found.lora[name], tensor) for name, tensor in content.lora.items())
    drawn = []
    for number in range(2):
        with open_museum(tmp_path / f"{number}.safetensors", base).attached():
            drawn.append({style: prediction(base, f"a cat {word}") for style, word in WORDS.items()})
    assert torch.equal(drawn[0]["ink"], drawn[1]["ink"])
    assert torch.equal(drawn[0]["dots"], drawn[1]["dots"])
    assert not torch.equal(drawn[0]["neon"], drawn[1]["neon"])  # its slot is gone


def test_the_ledger_notes_what_went(content: MuseumContent) -> None:
    ledger = without_style(content, "neon", now=NOON).ledger
    ledger = Ledger.from_json(ledger.to_json())
    (note,) = ledger.removed
    assert note["name"] == "neon"
    assert note["words"] == [WORDS["neon"]]
    assert (note["removed_at"], note["how"]) == ("2026-05-06T12:00:00+00:00", "quick")
    assert ledger.museum_id == content.ledger.museum_id
    again = ledger_without(ledger, "ink", how=DISTILLED, scores={"dots": 0.4}, now=NOON)
    assert [(n["name"], n["how"]) for n in again.removed] == [("neon", "quick"), ("ink", "distilled")]
    assert again.retired_words == (WORDS["neon"], WORDS["ink"])


def test_the_words_of_a_removed_style_are_retired(base: BaseModel, content: MuseumContent) -> None:
    ledger = without_style(content, "neon").ledger
    taken = [word for record in ledger.styles for word in record.words]
    with pytest.raises(ConfigError, match="belonged to a style that was removed"):
        choose_words(base, WORDS["neon"], 1, taken, ledger.museum_id, ledger.retired_words)
    assert choose_words(base, WORDS["neon"], 1, taken, ledger.museum_id) == (WORDS["neon"],)
    free = set(known_words(base)) - set(taken)
    assert set(choose_words(base, "auto", len(free) - 1, taken, retired=ledger.retired_words)) == free - {WORDS["neon"]}


@pytest.mark.parametrize(
    ("name", "now"),
    [("ink", {"neon": 0.85, "dots": 0.5}), ("dots", {"ink": 0.6, "neon": 0.85})],
    ids=["an old one", "the newest, whose record alone knows the others' latest scores"],
)
def test_the_latest_scores_stay_known(content: MuseumContent, name: str, now: dict[str, float]) -> None:
    assert scores_now(content.ledger) == SCORES["dots"]
    assert scores_now(without_style(content, name).ledger) == now


def test_measured_scores_count_until_another_style_is_taught(content: MuseumContent) -> None:
    ledger = ledger_without(content.ledger, "dots", scores={"ink": 0.5, "neon": 0.4, "dots": 0.1})
    assert scores_now(ledger) == {"ink": 0.5, "neon": 0.4}
    assert scores_now(ledger_without(ledger, "ink")) == {"neon": 0.4}
    later = replace(content.ledger.styles[2], name="more", scores={"ink": 0.3, "neon": 0.2, "more": 0.9})
    assert changed_scores(ledger) == ("without dots", {"ink": 0.5, "neon": 0.4})
    assert scores_now(ledger.with_style(later)) == later.scores
    assert changed_scores(ledger.with_style(later)) == ("", {})
    assert ledger.retention_matrix()[1] == ((0.8,), (0.7, 0.9))  # the record of learning is untouched


def test_notes_of_another_program_are_passed_over(content: MuseumContent) -> None:
    odd = replace(content.ledger, extra={"removed": ["?", {"words": 3}, {"words": ["zk", 4]}], "latest_scores": 3})
    assert odd.retired_words == ("zk",)
    assert scores_now(odd) == SCORES["dots"]
    odd = replace(odd, extra={"latest_scores": {"newest": "dots", "scores": {"ink": "good", "neon": 0.1}}})
    assert scores_now(odd) == {**SCORES["dots"], "neon": 0.1}
    assert replace(odd, extra={"removed": "none"}).retired_words == ()


def test_nonsense_is_refused(base: BaseModel, content: MuseumContent) -> None:
    with pytest.raises(MuseumFileError, match="no style 'nion' in this museum; did you mean"):
        without_style(content, "nion")
    with pytest.raises(ConfigError, match="the only one"):
        without_style(content_of(tiny_museum(base, "ink")), "ink")
