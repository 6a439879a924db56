from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.captions import augment_caption, caption_file, read_caption, with_trigger
from museum_plugin.errors import DataError


def subset(**settings) -> SubsetConfig:
    return SubsetConfig(Path("pictures"), **settings)


def variants(caption: str, count: int = 200, **settings) -> Counter[str]:
    rng = random.Random(0)
    return Counter(augment_caption(caption, subset(**settings), rng) for _ in range(count))


@pytest.mark.parametrize(
    ("content", "caption"),
    [
        (b"a red cat", "a red cat"),
        (b"  a cat \r\nsecond line", "a cat"),
        (b"a cat\rsecond", "a cat"),
        (b"\xef\xbb\xbfa cat\n", "a cat"),
        ("浮世絵, été".encode(), "浮世絵, été"),
        (b"\nsecond", ""),
        (b"", ""),
    ],
)
def test_the_first_line_is_the_caption(tmp_path: Path, content: bytes, caption: str) -> None:
    (tmp_path / "a.caption").write_bytes(content)
    assert read_caption(tmp_path / "a.png", subset(class_tokens="unused")) == caption


@pytest.mark.parametrize("extension", [".txt", "txt"])
def test_the_extension_chooses_the_file(tmp_path: Path, extension: str) -> None:
    (tmp_path / "a.b.txt").write_text("text")
    (tmp_path / "a.b.caption").write_text("caption")
    assert caption_file(tmp_path / "a.b.png", subset(caption_extension=extension)) == tmp_path / "a.b.txt"
    assert read_caption(tmp_path / "a.b.png", subset(caption_extension=extension)) == "text"


@pytest.mark.parametrize(("class_tokens", "caption"), [("a house", "a house"), (None, "")])
def test_without_a_file_the_class_tokens_speak(tmp_path: Path, class_tokens: str | None, caption: str) -> None:
    assert read_caption(tmp_path / "a.png", subset(class_tokens=class_tokens)) == caption


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"caf\xe9", r"byte 3 is 0xe9"),
        (b"\xef\xbb\xbfcaf\xe9", r"byte 6 is 0xe9"),
        ("a cat".encode("utf-16"), r"byte 0 is 0xff"),
    ],
)
def test_what_is_not_utf8_is_named_with_the_byte(tmp_path: Path, content: bytes, where: str) -> None:
    (tmp_path / "a.caption").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.caption: the caption is not UTF-8 \({where}\); save it as UTF-8"):
        read_caption(tmp_path / "a.png", subset())


def test_a_caption_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.caption").mkdir()
    with pytest.raises(DataError, match=r"a\.caption: the caption cannot be read"):
        read_caption(tmp_path / "a.png", subset())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "a,  b,c,"),
        ({"caption_prefix": "ink,"}, "ink, a,  b,c,"),
        ({"caption_suffix": "end"}, "a,  b,c, end"),
        ({"caption_prefix": "ink,", "caption_suffix": "end"}, "ink, a,  b,c, end"),
        ({"keep_tokens": 2, "caption_separator": ";"}, "a,  b,c,"),
    ],
)
def test_a_caption_stays_as_written_but_for_prefix_and_suffix(settings: dict, expected: str) -> None:
    assert variants("a,  b,c,", **settings) == {expected: 200}


def test_an_empty_caption_with_a_prefix_is_the_prefix() -> None:
    assert augment_caption("", subset(caption_prefix="ink"), random.Random(0)) == "ink"


def test_the_whole_caption_is_dropped_at_its_rate() -> None:
    assert variants("a, b", caption_dropout_rate=1.0, caption_prefix="ink") == {"": 200}
    assert 30 <= variants("a, b", caption_dropout_rate=0.25)[""] <= 70


def test_shuffling_gives_every_order_and_keeps_every_tag() -> None:
    assert set(variants("a,b , c", shuffle_caption=True)) == {
        "a, b, c", "a, c, b", "b, a, c", "b, c, a", "c, a, b", "c, b, a",
    }  # fmt: skip


def test_the_first_tags_are_kept_in_place_and_the_prefix_counts() -> None:
    assert set(variants("a, b, c", shuffle_caption=True, keep_tokens=1)) == {"a, b, c", "a, c, b"}
    assert set(variants("a, b", shuffle_caption=True, keep_tokens=1, caption_prefix="ink,")) == {
        "ink, a, b",
        "ink, b, a",
    }
    assert set(variants("a, b", shuffle_caption=True, keep_tokens=9)) == {"a, b"}


def test_the_separator_splits_and_a_comma_joins() -> None:
    assert set(variants("a, b; c", shuffle_caption=True, caption_separator=";")) == {"a, b, c", "c, a, b"}


def test_tags_are_dropped_at_their_rate_and_kept_tags_never() -> None:
    assert variants("a, b, c", caption_tag_dropout_rate=1.0, keep_tokens=1) == {"a": 200}
    assert variants("a, b, c", caption_tag_dropout_rate=1.0) == {"": 200}
    counts = variants("a, b", caption_tag_dropout_rate=0.25, count=1000)
    assert set(counts) == {"", "a", "b", "a, b"}  # in order: nothing is shuffled
    assert 0.5 < counts["a, b"] / 1000 < 0.62  # 0.75^2 = 0.5625


def test_the_same_random_state_gives_the_same_variant() -> None:
    settings = subset(shuffle_caption=True, caption_tag_dropout_rate=0.5, caption_dropout_rate=0.1)
    runs = [[augment_caption("a, b, c, d", settings, rng) for _ in range(9)] for rng in map(random.Random, (3, 3, 4))]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("caption", "phrase", "expected"),
    [
        ("a cat", "zorvex", "a cat in zorvex style"),
        ("", "zorvex", "zorvex style"),
        (" ", "zorvex", "zorvex style"),
        ("a zorvex cat", "zorvex", "a zorvex cat"),
        ("a cat, Zorvex.", "zorvex", "a cat, Zorvex."),
        ("zorvexes", "zorvex", "zorvexes in zorvex style"),
        ("prezorvex", "zorvex", "prezorvex in zorvex style"),
        ("a cat in zor  vex style", "zor vex", "a cat in zor  vex style"),
        ("zor, vex", "zor vex", "zor, vex in zor vex style"),
        ("a+b cat", "a+b", "a+b cat"),
        ("aab cat", "a+b", "aab cat in a+b style"),
    ],
)
def test_the_phrase_is_put_in_unless_it_stands_there(caption: str, phrase: str, expected: str) -> None:
    assert with_trigger(caption, phrase) == expected
    assert with_trigger(expected, phrase) == expected


def test_a_phrase_that_says_style_itself_is_not_told_twice() -> None:
    assert with_trigger("a cat", "zk Style") == "a cat in zk Style"
    assert with_trigger("", "zk style") == "zk style"
    assert with_trigger("a cat", "zk") == "a cat in zk style"
