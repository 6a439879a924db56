"""The retention matrix as a heat map for people and as JSON for programs; both hold the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from museum_plugin.config.files import write_atomically
from museum_plugin.judge.lettering import FAINT_INK, INK, PAPER, RULE, Color, font, png, wrap
from museum_plugin.judge.matrix import Matrix, average_forgetting, backward_transfer, percent

_STOPS: tuple[Color, ...] = ((232, 239, 248), (158, 190, 222), (66, 126, 186), (12, 44, 92))
"""One blue from light to dark at scores 0, 1/3, 2/3, 1: read by its lightness, whatever colours an eye tells apart."""
_CELL, _ROW, _GAP, _MARGIN = 112, 64, 4, 44
_SIDE = 180
"""Least width of the row titles; all sizes are in pixels."""
_TITLE_SIZE, _TEXT_SIZE, _NOTE_SIZE, _NUMBER_SIZE = 26, 18, 15, 21
_LEAST_WIDTH = 560
_TITLE = "What the museum still knows"
_NOTE = (
    "Score of each style: 0 = drawn as the base model draws, 1 = the statistics of the style's own pictures. "
    "Read down a column: a style that fades is being forgotten."
)


def write_matrix(
    path_png: Path,
    path_json: Path,
    *,
    names: Sequence[str],
    matrix: Matrix,
    kept: Mapping[str, float],
    drift: float,
) -> None:
    """Write the heat map and its numbers, each file whole or not at all.

    Args:
        names: styles in the order of learning, at least one.
        matrix: the lower triangle, scores in [0, 1]; null in JSON and "-" in the picture where a style was not judged.
        kept: share of its own first score that each old style has now.
        drift: of prompts without a trigger, now.
    Raises:
        ValueError: the matrix is not a triangle of the names, or a number is not finite.
        OutputError: a file cannot be written.
    """
    numbers = {
        "names": list(names),
        "matrix": [list(row) for row in matrix],
        "kept": dict(kept),
        "average_forgetting": average_forgetting(matrix),
        "backward_transfer": backward_transfer(matrix),
        "drift": drift,
    }
    text = json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    picture = draw_matrix(names, matrix, kept, drift)
    write_atomically(path_json, text.encode())
    write_atomically(path_png, png(picture))


def shade(score: float) -> Color:
    """The background of a score in [0, 1]; lightness falls steadily. Beyond the ends: the colour of the end."""
    place = min(1.0, max(0.0, score)) * (len(_STOPS) - 1)
    i = min(int(place), len(_STOPS) - 2)
    part = place - i
    red, green, blue = (round(a + part * (b - a)) for a, b in zip(_STOPS[i], _STOPS[i + 1], strict=True))
    return red, green, blue


def contrast(a: Color, b: Color) -> float:
    """Contrast ratio of two colours, 1 .. 21. Source: WCAG 2.1; 4.5 is enough for text."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def text_color(background: Color) -> Color:
    """Black or white, whichever stands out more."""
    black, white = (0, 0, 0), (255, 255, 255)
    return max((black, white), key=lambda color: contrast(color, background))


def draw_matrix(names: Sequence[str], matrix: Matrix, kept: Mapping[str, float], drift: float) -> Image.Image:
    """The heat map: rows "after learning X", columns styles, a last row with the kept shares, a summary below.

    Raises:
        ValueError: the matrix is not a triangle of the names.
    """
    if not names or [len(row) for row in matrix] != list(range(1, len(names) + 1)):
        raise ValueError(f"{len(names)} names need a triangle of as many rows, found {[len(row) for row in matrix]}")
    side = [wrap(f"after {name}", _TEXT_SIZE, _SIDE, max_lines=2) for name in names]
    heads = [wrap(name, _TEXT_SIZE, _CELL - 12, max_lines=3) for name in names]
    left = _MARGIN + _SIDE + 20
    right = left + len(names) * _CELL - _GAP
    width = max(right, _MARGIN + _LEAST_WIDTH) + _MARGIN
    summary = wrap(_summary(matrix, drift), _TEXT_SIZE, width - 2 * _MARGIN)
    note = wrap(_NOTE, _NOTE_SIZE, width - 2 * _MARGIN)
    top = _MARGIN + 2 * _TITLE_SIZE + max(head.height for head in heads) + 10
    below = top + len(names) * _ROW + 24
    foot = below + _ROW + 24
    sheet = Image.new("RGB", (width, foot + summary.height + 10 + note.height + _MARGIN), PAPER)
    canvas = ImageDraw.Draw(sheet)
    wrap(_TITLE, _TITLE_SIZE, width).draw(canvas, _MARGIN, _MARGIN - 8)
    middles = [left + j * _CELL + (_CELL - _GAP) / 2 for j in range(len(names))]
    for middle, head in zip(middles, heads, strict=True):
        head.draw(canvas, middle, top - 10 - head.height, anchor="m")
    for i, (block, row) in enumerate(zip(side, matrix, strict=True)):
        y = top + i * _ROW
        block.draw(canvas, left - 20, y + (_ROW - _GAP - block.height) / 2, color=FAINT_INK, anchor="r")
        for j, score in enumerate(row):
            _draw_cell(canvas, left + j * _CELL, y, score)
    canvas.line([(_MARGIN, below - 14), (right, below - 14)], fill=RULE, width=2)
    _draw_kept(canvas, left - 20, below + _ROW / 2 - 6, [(m, kept.get(n)) for m, n in zip(middles, names, strict=True)])
    summary.draw(canvas, _MARGIN, foot)
    note.draw(canvas, _MARGIN, foot + summary.height + 10, color=FAINT_INK)
    return sheet


def _draw_cell(canvas: ImageDraw.ImageDraw, x: int, y: int, score: float | None) -> None:
    color = PAPER if score is None else shade(score)
    right, bottom = x + _CELL - _GAP, y + _ROW - _GAP
    canvas.rectangle((x, y, right - 1, bottom - 1), fill=color)
    middle = ((x + right) / 2, (y + bottom) / 2)
    canvas.text(
        middle, "-" if score is None else f"{score:.2f}", fill=text_color(color), font=font(_NUMBER_SIZE), anchor="mm"
    )


def _draw_kept(
    canvas: ImageDraw.ImageDraw, title_end: float, y: float, shares: Sequence[tuple[float, float | None]]
) -> None:
    canvas.text((title_end, y), "kept now", fill=INK, font=font(_TEXT_SIZE), anchor="rm")
    for middle, share in shares:
        text, color = ("new", FAINT_INK) if share is None else (percent(share), INK)
        canvas.text((middle, y), text, fill=color, font=font(_NUMBER_SIZE), anchor="mm")


def _summary(matrix: Matrix, drift: float) -> str:
    parts = [f"drift of prompts without a trigger {drift:.2f}"]
    if len(matrix) > 1:
        forgetting, transfer = average_forgetting(matrix), backward_transfer(matrix)
        parts = [f"average forgetting {forgetting:.2f}", f"backward transfer {transfer:+.2f}", *parts]
    return "  ·  ".join(parts)
