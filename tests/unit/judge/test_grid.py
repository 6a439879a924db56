"""The grid: every picture in its cell, whatever kind, size and number there are; whole files only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from museum_plugin.errors import OutputError
from museum_plugin.judge.grid import draw_grid, write_grid
from museum_plugin.judge.lettering import PAPER, RULE

COLORS = [(250, 0, 0), (0, 200, 0), (0, 0, 250), (250, 200, 0), (0, 200, 250), (200, 0, 200)]


def plain(color: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, color)


def box_of(sheet: Image.Image, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the pixels with exactly this color; the last two beyond the end."""
    rows, columns = np.nonzero((np.array(sheet) == color).all(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_columns_run_right_and_rows_run_down() -> None:
    columns = {"base": [plain(COLORS[0]), plain(COLORS[1])], "ink": [plain(COLORS[2]), plain(COLORS[3])]}
    sheet = draw_grid(columns, ["one", "two"])
    base_one, base_two, ink_one, ink_two = (box_of(sheet, color) for color in COLORS[:4])
    assert base_one[0] == base_two[0] < base_one[2] < ink_one[0] == ink_two[0]
    assert base_one[1] == ink_one[1] < base_one[3] < base_two[1] == ink_two[1]
    assert {(b[2] - b[0], b[3] - b[1]) for b in (base_one, base_two, ink_one, ink_two)} == {(384, 384)}


def test_tensors_and_pictures_look_the_same() -> None:
    values = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    from_tensor = draw_grid({"base": values}, ["one"])
    from_picture = draw_grid({"base": [plain((0, 128, 255), (16, 16))]}, ["one"])
    assert np.array_equal(np.array(from_tensor), np.array(from_picture))


def test_tensors_beyond_the_range_are_clipped() -> None:
    sheet = draw_grid({"base": torch.tensor([-9.0, 9.0, 9.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)}, ["one"])
    assert box_of(sheet, (0, 255, 255))


@pytest.mark.parametrize("columns", [1, 2, 5, 12])
def test_any_number_of_columns_leaves_a_margin_and_no_overlap(columns: int) -> None:
    colors = [(10 * i + 5, 100, 0) for i in range(columns)]
    sheet = draw_grid({f"style {i}": [plain(color)] for i, color in enumerate(colors)}, ["a prompt"])
    boxes = [box_of(sheet, color) for color in colors]
    assert all(left[2] < right[0] for left, right in zip(boxes, boxes[1:], strict=False))
    widths = {box[2] - box[0] for box in boxes}
    assert len(widths) == 1
    assert 160 <= widths.pop() <= 384
    edge = np.array(sheet)
    for strip in (edge[:8], edge[-8:], edge[:, :8], edge[:, -8:]):
        assert (strip == PAPER).all()


def test_pictures_keep_their_proportions() -> None:
    sheet = draw_grid({"a": [plain(COLORS[0], (64, 32))], "b": [plain(COLORS[1], (20, 20))]}, ["one"])
    wide, square = box_of(sheet, COLORS[0]), box_of(sheet, COLORS[1])
    assert wide[2] - wide[0] == 2 * (wide[3] - wide[1])
    assert square[2] - square[0] == square[3] - square[1]


def test_a_long_prompt_makes_room_instead_of_running_into_the_pictures() -> None:
    short = draw_grid({"a": [plain(COLORS[0], (64, 16))]}, ["cat"])
    long = draw_grid({"a": [plain(COLORS[0], (64, 16))]}, ["a cat on a mat " * 12])
    assert long.height > short.height
    left = box_of(long, COLORS[0])[0]
    text = (np.array(long)[:, : left - 8] != PAPER).any(axis=2)
    assert text.sum() > 1000
    beside = np.array(long)[:, left - 8 : left]
    assert ((beside == PAPER) | (beside == RULE)).all()


def test_titles_are_drawn() -> None:
    def ink(column: str, row: str) -> int:
        return int((np.array(draw_grid({column: [plain(COLORS[0])]}, [row])).max(axis=2) < 128).sum())

    assert ink("ink", "") > ink("", "")
    assert ink("", "cat") > ink("", "")


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ({}, ["one"]),
        ({"a": []}, []),
        ({"a": [plain(COLORS[0])]}, ["one", "two"]),
        ({"a": torch.zeros(3, 3, 8, 8)}, ["x"]),
    ],
)
def test_a_grid_with_holes_is_refused(columns: dict[str, list[Image.Image]], rows: list[str]) -> None:
    with pytest.raises(ValueError, match="one picture for each"):
        draw_grid(columns, rows)


def test_the_file_is_a_png_of_the_grid(tmp_path: Path) -> None:
    columns = {"base": [plain(COLORS[0])], "ink": [plain(COLORS[1])]}
    write_grid(tmp_path / "new" / "grid.png", columns, ["one"])
    with Image.open(tmp_path / "new" / "grid.png") as back:
        assert back.format == "PNG"
        assert np.array_equal(np.array(back), np.array(draw_grid(columns, ["one"])))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["grid.png"]


def test_a_file_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "grid.png").mkdir()
    with pytest.raises(OutputError, match=r"grid\.png"):
        write_grid(tmp_path / "grid.png", {"base": [plain(COLORS[0])]}, ["one"])
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
