"""The heat map: readable for every eye, and the same numbers in picture and JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from museum_plugin.errors import OutputError
from museum_plugin.judge.lettering import PAPER
from museum_plugin.judge.matrix import average_forgetting, backward_transfer
from museum_plugin.judge.matrix_picture import contrast, draw_matrix, shade, text_color, write_matrix

NAMES = ["ink", "dots", "neon"]
MATRIX = [[0.8], [0.7, 0.6], [0.4, 0.5, 0.75]]
KEPT = {"ink": 0.5, "dots": 0.83}


def pixels(picture: Image.Image) -> np.ndarray:
    return np.array(picture)


def count(picture: Image.Image, score: float) -> int:
    return int((pixels(picture) == shade(score)).all(axis=2).sum())


@pytest.mark.parametrize("i", range(0, 101, 5))
def test_the_number_stands_out_on_every_shade(i: int) -> None:
    color = shade(i / 100)
    assert contrast(color, text_color(color)) >= 4.5


def test_contrast_of_black_and_white() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert contrast((9, 99, 199), (9, 99, 199)) == 1


def test_a_higher_score_is_darker_all_the_way() -> None:
    darkness = [contrast(shade(i / 50), (255, 255, 255)) for i in range(51)]
    assert all(a < b for a, b in zip(darkness, darkness[1:], strict=False))
    assert shade(-1) == shade(0)
    assert shade(2) == shade(1)


def test_a_style_that_was_not_judged_has_no_shade_and_is_null(tmp_path: Path) -> None:
    gaps = [[None], [0.7, 0.6], [0.4, None, 0.75]]
    picture = draw_matrix(NAMES, gaps, KEPT, 0.1)
    assert count(picture, 0.7) > 3000
    assert count(picture, 0.8) == count(picture, 0.5) == 0
    write_matrix(tmp_path / "m.png", tmp_path / "m.json", names=NAMES, matrix=gaps, kept=KEPT, drift=0.1)
    assert json.loads((tmp_path / "m.json").read_text())["matrix"] == gaps


def test_every_score_has_a_cell_of_its_shade_and_the_upper_half_is_empty() -> None:
    picture = draw_matrix(NAMES, MATRIX, KEPT, 0.1)
    cells = [count(picture, score) for row in MATRIX for score in row]
    assert min(cells) > 3000
    cell = pixels(picture)
    right = np.nonzero((cell == shade(0.75)).all(axis=2))[1].min()
    top = np.nonzero((cell == shade(0.8)).all(axis=2))[0].min()
    assert (cell[top : top + 120, right:] == PAPER).all()


@pytest.mark.parametrize(
    "other",
    [
        draw_matrix(["ink", "dots", "gold"], MATRIX, KEPT, 0.1),
        draw_matrix(NAMES, [[0.8], [0.7, 0.6], [0.4, 0.51, 0.75]], KEPT, 0.1),
        draw_matrix(NAMES, MATRIX, {"ink": 0.5, "dots": 0.7}, 0.1),
        draw_matrix(NAMES, MATRIX, {"ink": 0.5}, 0.1),
        draw_matrix(NAMES, MATRIX, KEPT, 0.2),
    ],
    ids=["names", "matrix", "kept", "new", "drift"],
)
def test_each_number_is_seen(other: Image.Image) -> None:
    assert not np.array_equal(pixels(draw_matrix(NAMES, MATRIX, KEPT, 0.1)), pixels(other))


@pytest.mark.parametrize("count", [1, 2, 12])
def test_any_number_of_styles_leaves_a_margin(count: int) -> None:
    names = [f"a style with a rather long name {i}" for i in range(count)]
    sheet = pixels(draw_matrix(names, [[0.5] * (i + 1) for i in range(count)], {}, 0.0))
    for strip in (sheet[:16], sheet[-16:], sheet[:, :16], sheet[:, -16:]):
        assert (strip == PAPER).all()


def test_json_has_every_number_and_the_picture_is_a_png(tmp_path: Path) -> None:
    write_matrix(tmp_path / "r.png", tmp_path / "r.json", names=NAMES, matrix=MATRIX, kept=KEPT, drift=0.1)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {
        "names": NAMES,
        "matrix": MATRIX,
        "kept": KEPT,
        "average_forgetting": average_forgetting(MATRIX),
        "backward_transfer": backward_transfer(MATRIX),
        "drift": 0.1,
    }
    with Image.open(tmp_path / "r.png") as back:
        assert back.format == "PNG"
        assert np.array_equal(np.array(back), pixels(draw_matrix(NAMES, MATRIX, KEPT, 0.1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.png"]


def test_numbers_that_are_no_triangle_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for names, matrix, drift in (([], [], 0.0), (NAMES, MATRIX[:2], 0.0), (NAMES, MATRIX, math.nan)):
        with pytest.raises(ValueError, match=r"triangle|compliant"):
            write_matrix(tmp_path / "r.png", tmp_path / "r.json", names=names, matrix=matrix, kept={}, drift=drift)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("blocked", ["r.png", "r.json"])
def test_a_file_that_cannot_be_written_is_a_users_error(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).mkdir()
    with pytest.raises(OutputError, match=blocked):
        write_matrix(tmp_path / "r.png", tmp_path / "r.json", names=["ink"], matrix=[[0.5]], kept={}, drift=0.0)
