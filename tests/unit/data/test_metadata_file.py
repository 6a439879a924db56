"""Captions and tags of many pictures in one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.metadata_file import joined_caption, metadata_captions
from museum_plugin.errors import DataError
from tests.unit.data.drawn import dataset_of, draw, draw_folder, style_of


def subset(folder: Path, **settings) -> SubsetConfig:
    return SubsetConfig(folder, **settings)


def written(path: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def test_keys_are_paths_or_stems_relative_or_absolute(tmp_path: Path) -> None:
    draw_folder(tmp_path / "img", [(64, 64)] * 3, captions=False)
    away = draw(tmp_path / "away" / "x.b.PNG")
    content = {
        "02.png": {"caption": "two"},
        "00": {"caption": "zero"},
        str(away.with_suffix("")): {"caption": "stem"},
        str(tmp_path / "img" / "01.png"): {"caption": "one", "train_resolution": [64, 64]},
    }
    found = metadata_captions(subset(tmp_path / "img"), written(tmp_path / "m.json", content))
    assert list(found.items()) == [
        (away, "stem"),
        (tmp_path / "img" / "00.png", "zero"),
        (tmp_path / "img" / "01.png", "one"),
        (tmp_path / "img" / "02.png", "two"),
    ]


def test_lines_and_table_say_the_same(tmp_path: Path) -> None:
    draw_folder(tmp_path, [(64, 64)] * 2, captions=False)
    lines = [
        {"image_path": "00.png", "caption": "a", "tags": "b", "image_size": [64, 64]},
        {"image_path": "01.png"},
    ]
    text = "\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\r\n"
    table = {"00.png": {"caption": "a", "tags": "b"}, "01.png": {}}
    found = metadata_captions(subset(tmp_path), written(tmp_path / "m.jsonl", text))
    assert found == {tmp_path / "00.png": "a,b", tmp_path / "01.png": ""}
    assert found == metadata_captions(subset(tmp_path), written(tmp_path / "m.json", table))


@pytest.mark.parametrize(
    ("caption", "tags", "settings", "expected"),
    [
        ("a cat", "x, y", {}, "a cat,x, y"),
        ("a cat", "", {}, "a cat"),
        ("", "x, y", {}, "x, y"),
        ("", "x", {"enable_wildcard": True}, "x"),
        ("a cat", "x", {"caption_separator": ";"}, "a cat;x"),
        ("one\n\ntwo", "x\ny", {"enable_wildcard": True}, "one,x,y\ntwo,x,y"),
        ("one\ntwo", "x", {}, "one,x"),
        ("one\ntwo", "", {"enable_wildcard": True}, "one\ntwo"),
    ],
)
def test_tags_follow_the_caption(caption: str, tags: str, settings: dict, expected: str) -> None:
    assert joined_caption(caption, tags, subset(Path("img"), **settings)) == expected


def test_a_style_learns_only_what_the_file_names(tmp_path: Path) -> None:
    draw_folder(tmp_path, [(64, 64)] * 3)
    file = written(tmp_path / "m.json", {"01": {"tags": "red, round"}})
    data = StyleDataset(style_of(dataset_of(SubsetConfig(tmp_path, 2, metadata_file=file))))
    assert [(p.path.name, p.caption) for p in data.pictures] == [("01.png", "red, round")]
    assert data.batches_per_epoch == 2
    assert data.batch(0, 0).captions == ["red, round"]


def test_where_captions_stand_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "img", [(64, 64)] * 2)
    captions = {f"0{i}": {"caption": f"picture {i}, red, round, small"} for i in range(2)}
    file = written(tmp_path / "m.json", captions)
    one, other = (
        StyleDataset(style_of(dataset_of(SubsetConfig(folder, metadata_file=source)))) for source in (None, file)
    )
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", "{", r"m\.json: not valid JSON: "),
        ("m.json", "[1]", r"m\.json: found \[1\], allowed: a table of keys and values"),
        ("m.json", {"a": "b"}, r'm\.json: allowed: \{"picture": \{"caption": "\.\.\.", "tags"'),
        ("m.json", {}, r"m\.json: this metadata file names no picture"),
        ("m.json", {"00": {"tags": ["x"]}}, r"m\.json: 00: tags: found \['x'\], allowed: a text"),
        ("m.json", {"00": {}, "07": {}, "a\0b": {}, "..": {}}, r"3 of 4 pictures are not in .*: 07, a\x00b, \.\.; cor"),
        ("m.jsonl", '{"image_path": "00"}\n{', r"m\.jsonl, line 2: not valid JSON: "),
        ("m.jsonl", '\n{"caption": "a"}', r"m\.jsonl, line 2: image_path: found None, allowed: the path"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, name: str, content: object, message: str) -> None:
    draw_folder(tmp_path, [(64, 64)])
    with pytest.raises(DataError, match=message):
        metadata_captions(subset(tmp_path), written(tmp_path / name, content))


def test_many_missing_pictures_are_listed_in_part(tmp_path: Path) -> None:
    file = written(tmp_path / "m.json", {f"p{i}": {} for i in range(12)})
    with pytest.raises(DataError, match=r"12 of 12 pictures .*p8, p9, \.\.\.; correct"):
        metadata_captions(subset(tmp_path), file)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"m\.json: byte 0 is not UTF-8"):
        metadata_captions(subset(tmp_path), tmp_path / "m.json")
    with pytest.raises(DataError, match=r"gone\.json: the metadata file cannot be read"):
        metadata_captions(subset(tmp_path), tmp_path / "gone.json")
