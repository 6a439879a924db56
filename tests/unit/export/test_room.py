from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from museum_plugin.errors import ConfigError, MuseumFileError
from museum_plugin.export.room import ROOM_KEY, check_triggers, room_name, room_of
from museum_plugin.museum.file import read_museum, write_museum
from tests.family_museums import family_museum, many_styles, style

THREE = (style("ink", "nlwx"), style("neon", "rctid", "bsgo"), style("水彩", "coyi"))


def test_a_room_is_a_museum_of_its_styles(tmp_path: Path) -> None:
    whole = family_museum("sdxl", *THREE)
    room = room_of(whole, ["水彩", "ink"], "mine")
    assert [record.name for record in room.ledger.styles] == ["ink", "水彩"]  # in the museum's order
    write_museum(tmp_path / "room.safetensors", room, keep_history=0)
    again = read_museum(tmp_path / "room.safetensors")
    for name in ("ink", "水彩"):
        for encoder, vector in whole.slots[name].items():
            assert torch.equal(again.slots[name][encoder], vector)
            assert torch.equal(again.base_rows[name][encoder], whole.base_rows[name][encoder])
    told = json.loads(again.metadata[ROOM_KEY])
    assert told == {"museum": "mine", "museum_id": "1" * 32, "styles": ["ink", "水彩"], "left_out": ["neon"]}


@pytest.mark.parametrize("styles", [(), ("neon", "水彩", "ink")])
def test_all_styles_are_no_room(styles: tuple[str, ...]) -> None:
    whole = family_museum("sd1", *THREE)
    assert room_of(whole, styles, "mine") is whole


def test_a_room_of_a_museum_without_base_rows_has_none() -> None:
    assert room_of(family_museum("sd1", *THREE, with_base_rows=False), ["ink"], "mine").base_rows == {}


def test_an_unknown_style_is_told_the_nearest() -> None:
    with pytest.raises(MuseumFileError, match="no style 'nein' in this museum; did you mean \"neon\""):
        room_of(family_museum("sd1", *THREE), ["nein"], "mine")


def test_the_name_is_the_rooms_else_the_museums_with_its_styles() -> None:
    assert room_name(Path("a/mine.safetensors"), None, ()) == "mine"
    assert room_name(Path("a/mine.safetensors"), None, ("ink", "neon", "ink")) == "mine-ink-neon"
    assert room_name(Path("a/mine.safetensors"), "night", ("ink",)) == "night"


@pytest.mark.parametrize("name", ["", " ", " night", "a:b", "a/b", "<night>", "a\nb", ".night", "..", "a|b", 'a"b'])
def test_a_name_that_a_prompt_or_a_file_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--room: found .* cannot hold"):
        room_name(Path("mine.safetensors"), name, ())


def test_a_museum_without_styles_has_nothing_to_publish() -> None:
    with pytest.raises(MuseumFileError, match=r"mine\.safetensors: this museum knows no style yet"):
        check_triggers(Path("mine.safetensors"), ())


@pytest.mark.parametrize("word", ["a/b", "<a>", "a:b", ".."])
def test_a_trigger_that_cannot_be_typed_is_refused(word: str) -> None:
    check_triggers(Path("mine.safetensors"), many_styles(1))
    with pytest.raises(MuseumFileError, match="style 'odd': trigger: found .* leave it out with --styles"):
        check_triggers(Path("mine.safetensors"), (*many_styles(1), style("odd", word)))
