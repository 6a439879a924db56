"""Wrapped text fits, loses nothing while there is room, and is written where it was asked for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from museum_plugin.judge.lettering import PAPER, TextBlock, font, png, wrap

PROMPT = "a small cat and a blue ball in a green field, incomprehensibilities included"


@pytest.mark.parametrize("width", [40, 90, 300])
def test_wrapped_text_fits_and_is_whole(width: int) -> None:
    block = wrap(PROMPT, 16, width, max_lines=99)
    assert block.width <= width
    assert all(font(16).getlength(line) <= width for line in block.lines)
    assert "".join(block.lines).replace(" ", "") == PROMPT.replace(" ", "")


def test_words_stay_together_where_they_fit() -> None:
    assert wrap("one two", 16, 1000).lines == ("one two",)
    assert wrap("one two", 16, font(16).getlength("two") + 3).lines == ("one", "two")


def test_larger_letters_need_more_lines() -> None:
    small, large = wrap(PROMPT, 12, 200), wrap(PROMPT, 24, 200)
    assert len(large.lines) > len(small.lines)
    assert large.height > 2 * small.height


def test_too_many_lines_end_in_an_ellipsis_that_fits() -> None:
    block = wrap(PROMPT, 16, 80, max_lines=2)
    assert len(block.lines) == 2
    assert block.lines[1].endswith("…")
    assert block.width <= 80


@pytest.mark.parametrize("text", ["", "   "])
def test_no_text_is_an_empty_line(text: str) -> None:
    assert wrap(text, 16, 80).lines == ("",)


def test_a_width_below_one_letter_still_ends() -> None:
    assert wrap("cat", 16, 1).lines == ("c", "a", "t")


def inked(anchor: str, color: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    sheet = Image.new("RGB", (200, 60), PAPER)
    TextBlock(("mm", "mmmm"), 16).draw(ImageDraw.Draw(sheet), 100, 10, color=color, anchor=anchor)
    return np.array(sheet).astype(int)


@pytest.mark.parametrize(("anchor", "left", "right"), [("l", 100, 165), ("m", 65, 135), ("r", 35, 100)])
def test_text_is_written_at_its_anchor(anchor: str, left: int, right: int) -> None:
    rows, columns = np.nonzero((inked(anchor) != PAPER).any(axis=2))
    assert left <= columns.min()
    assert columns.max() <= right
    assert rows.min() >= 10
    assert rows.max() <= 10 + TextBlock(("mm", "mmmm"), 16).height


def test_text_has_its_color() -> None:
    assert (inked("l", (200, 0, 0)) == (200, 0, 0)).all(axis=2).any()


def test_png_keeps_every_pixel() -> None:
    picture = Image.effect_noise((9, 7), 50).convert("RGB")
    with Image.open(io.BytesIO(png(picture))) as back:
        assert back.format == "PNG"
        assert np.array_equal(np.array(back), np.array(picture))
