"""Tables and paragraphs for a terminal."""

from __future__ import annotations

import pytest

from museum_plugin.cli.text_lines import columns_of, counted, entry, file_size, printable, table


def test_columns_are_aligned_whatever_the_letters() -> None:
    lines = table([("name", "n"), ("水彩", "12"), ("a", "3")], right=(1,))
    assert lines == ["name   n", "水彩  12", "a      3"]


def test_no_line_ends_in_a_space() -> None:
    assert table([("a", "long"), ("b", "")]) == ["a  long", "b"]


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("水", 2), ("e\u0301", 1)])
def test_width_of_letters(text: str, columns: int) -> None:
    assert columns_of(text) == columns


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n") == "a?[2Jb?"
    assert table([("\x1b[2J",)]) == ["?[2J"]
    assert entry("k\x07", "v\x07") == ["k?            v?"]


def test_an_entry_folds_long_texts_and_begins_each_in_a_line() -> None:
    lines = entry("prompts", "word " * 40, "second")
    assert lines[0].startswith("prompts       word")
    assert len(lines) == 4
    assert all(len(line) <= 110 for line in lines)
    assert lines[-1] == " " * 14 + "second"


@pytest.mark.parametrize(("texts", "line"), [((), "empty         -"), (("",), "empty")])
def test_an_entry_without_text(texts: tuple[str, ...], line: str) -> None:
    assert entry("empty", *texts) == [line]


def test_a_long_title_keeps_its_distance() -> None:
    assert entry("a_title_that_is_long", "x") == ["a_title_that_is_long x"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (12_340_000, "12.3 MB"),
        (5 * 10**9, "5 GB"),
    ],
)
def test_file_sizes(count: int, text: str) -> None:
    assert file_size(count) == text


def test_counting() -> None:
    assert [counted(n, "style") for n in (0, 1, 2)] == ["0 styles", "1 style", "2 styles"]
