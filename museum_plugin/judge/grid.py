"""Drawn pictures side by side: a row for each prompt, a column for base, no trigger and each style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from museum_plugin.config.files import write_atomically
from museum_plugin.judge.lettering import FAINT_INK, PAPER, RULE, png, wrap

Pictures = Mapping[str, Sequence[Image.Image] | Tensor]
"""Column title -> one picture for each row: PIL pictures, or (N, 3, H, W) in [-1, 1]."""
_WIDEST_PICTURES = 2400
"""Pixels that all columns share; more columns make smaller pictures."""
_CELL_LIMITS = (160, 384)
"""Longer side of a picture, pixels."""
_TITLE_WIDTH = 280
"""Pixels that a row title may take, or a picture's width where that is more."""


def write_grid(path: Path, pictures: Pictures, row_titles: Sequence[str]) -> None:
    """Write the grid as a PNG, whole or not at all.

    Args:
        pictures: any number of columns from 1 on, in order; pictures keep their proportions.
        row_titles: one for each row, usually the prompt; long ones are wrapped.
    Raises:
        ValueError: there is nothing to show, or a column has not one picture for each row.
        OutputError: the file cannot be written.
    """
    write_atomically(path, png(draw_grid(pictures, row_titles)))


def draw_grid(pictures: Pictures, row_titles: Sequence[str]) -> Image.Image:
    """The grid of `write_grid` as a picture."""
    columns = {title: to_pictures(column) for title, column in pictures.items()}
    lengths = {len(column) for column in columns.values()}
    if lengths != {len(row_titles)} or not row_titles:
        raise ValueError(f"each column needs one picture for each of {len(row_titles)} rows, found {sorted(lengths)}")
    width, height = _cell_size(columns)
    gap, margin, letters = max(8, width // 24), max(28, width // 8), max(18, width // 14)
    side = [wrap(title, letters, max(width, _TITLE_WIDTH)) for title in row_titles]
    heads = [wrap(title, letters, width, max_lines=3) for title in columns]
    step = width + gap
    left = margin + max(block.width for block in side) + 2 * gap
    top = margin + max(block.height for block in heads) + 2 * gap
    right = left + len(heads) * step - gap
    row_heights = [max(height, block.height) for block in side]
    sheet = Image.new("RGB", (right + margin, top + sum(row_heights) + gap * (len(side) - 1) + margin), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for j, block in enumerate(heads):
        block.draw(canvas, left + j * step + width / 2, top - 1.5 * gap - block.height, anchor="m")
    canvas.line([(margin, top - gap), (right, top - gap)], fill=RULE, width=2)
    y = top
    for i, (block, row_height) in enumerate(zip(side, row_heights, strict=True)):
        block.draw(canvas, margin, y + (row_height - block.height) / 2, color=FAINT_INK)
        for j, column in enumerate(columns.values()):
            _paste(sheet, column[i], (left + j * step, y + (row_height - height) // 2), (width, height))
        y += row_height + gap
    return sheet


def to_pictures(column: Sequence[Image.Image] | Tensor) -> list[Image.Image]:
    """RGB pictures of a column: of pictures, or of a tensor (N, 3, H, W) in [-1, 1]."""
    if not isinstance(column, Tensor):
        return [picture.convert("RGB") for picture in column]
    values = ((column.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1)
    return [Image.fromarray(picture) for picture in values.numpy().astype(np.uint8)]


def _cell_size(columns: Mapping[str, Sequence[Image.Image]]) -> tuple[int, int]:
    """Width and height in pixels that all pictures are fitted into."""
    pictures = [picture for column in columns.values() for picture in column]
    widest, highest = max(p.width for p in pictures), max(p.height for p in pictures)
    smallest, largest = _CELL_LIMITS
    longest = min(largest, max(smallest, _WIDEST_PICTURES // len(columns)))
    scale = longest / max(widest, highest)
    return max(1, round(widest * scale)), max(1, round(highest * scale))


def _paste(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], cell: tuple[int, int]) -> None:
    fitted = ImageOps.contain(picture, cell, Image.Resampling.LANCZOS)
    inset = ((cell[0] - fitted.width) // 2, (cell[1] - fitted.height) // 2)
    sheet.paste(fitted, (corner[0] + inset[0], corner[1] + inset[1]))
