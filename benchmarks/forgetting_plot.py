"""Two pictures in one: what each method learns and keeps, and what becomes of it as styles are added."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from PIL import Image, ImageDraw

from benchmarks.lessons import JOINT
from benchmarks.result import Result
from museum_plugin.config.files import write_atomically
from museum_plugin.judge.lettering import FAINT_INK, INK, PAPER, RULE, Color, font, png

_COLORS: dict[str, Color] = {
    "museum": (200, 30, 60),
    "paper": (230, 130, 20),
    "finetune": (120, 120, 120),
    "ewc": (60, 110, 200),
    "lwf": (40, 160, 190),
    "clora": (110, 70, 180),
    "olora": (190, 90, 180),
    "joint": (20, 120, 70),
    "separate": (90, 170, 60),
    "summed": (130, 90, 50),
    "merged": (180, 150, 90),
}
_MARKS = ("circle", "square", "diamond", "triangle")
_SIDE, _LEFT, _TOP, _GAP, _LEGEND = 460, 80, 70, 110, 190
_WIDTH, _HEIGHT = _LEFT + 2 * _SIDE + _GAP + 30 + _LEGEND, _TOP + _SIDE + 80
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SMALL, _SIZE = 15, 18
"""Pixels, as all sizes here."""


class _Panel:
    """A square with axes from 0 to 1 upwards, and from `low` to `high` to the right."""

    def __init__(self, canvas: ImageDraw.ImageDraw, x: int, low: float, high: float) -> None:
        self._canvas, self._x, self._low, self._high = canvas, x, low, high

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the picture."""
        share = (x - self._low) / max(self._high - self._low, 1e-9)
        return self._x + share * _SIDE, _TOP + (1 - y) * _SIDE

    def axes(self, title: str, below: str, beside: str, ticks: Iterable[float], style: str) -> None:
        """Draw rules, numbers and names."""
        canvas, small = self._canvas, font(_SMALL)
        for tick in _TICKS:
            (x, y), (end, _) = self.at(self._low, tick), self.at(self._high, tick)
            canvas.line([(x, y), (end, y)], fill=RULE)
            canvas.text((x - 8, y), f"{tick:.1f}", fill=FAINT_INK, font=small, anchor="rm")
        for tick in ticks:
            x, y = self.at(tick, 0)
            canvas.line([(x, y), (x, y - _SIDE)], fill=RULE)
            canvas.text((x, y + 8), f"{tick:{style}}", fill=FAINT_INK, font=small, anchor="mt")
        middle = self._x + _SIDE / 2
        canvas.text((self._x, _TOP - 40), title, fill=INK, font=font(_SIZE), anchor="lm")
        canvas.text((middle, _TOP + _SIDE + 46), below, fill=FAINT_INK, font=small, anchor="mm")
        canvas.text((self._x, _TOP - 16), beside, fill=FAINT_INK, font=small, anchor="lm")


def draw_plot(results: list[Result]) -> Image.Image:
    """The picture; each method has one mark and one color.

    Left: what is kept of a score against what was learned, means over runs, with a cross that spans the runs.
    Right: the mean score of all styles so far, means over runs.
    """
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT), PAPER)
    canvas = ImageDraw.Draw(sheet)
    methods = list(dict.fromkeys(result.method for result in results))
    most = max(len(result.styles) for result in results)
    left, right = _Panel(canvas, _LEFT, 0, 1), _Panel(canvas, _LEFT + _SIDE + _GAP, 1, max(most, 2))
    left.axes("Kept against learned", "score just after learning", "share of it at the end", _TICKS, ".1f")
    right.axes("As styles are added", "styles taught", "mean score of all of them", range(1, max(most, 2) + 1), ".0f")
    for number, method in enumerate(methods):
        runs = [result for result in results if result.method == method]
        color, mark = _COLORS.get(method, INK), _MARKS[number % len(_MARKS)]
        _cross(canvas, left, runs, color)
        course = _course(runs)
        points = [right.at(count, score) for count, score in course]
        canvas.line(points, fill=color, width=2)
        for point in points:
            _mark(canvas, point, color, mark, 5)
        place = (_WIDTH - _LEGEND, _TOP + 14 + number * 30)
        _mark(canvas, left.at(mean(r.learned for r in runs), min(1.0, mean(_kept(r) for r in runs))), color, mark, 9)
        _mark(canvas, place, color, mark, 8)
        canvas.text((place[0] + 20, place[1]), method, fill=INK, font=font(_SIZE), anchor="lm")
    return sheet


def write_plot(path: Path, results: list[Result]) -> None:
    """The picture as a PNG file.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomically(path, png(draw_plot(results)))


def _kept(result: Result) -> float:
    return result.kept / max(result.learned, 1e-9)


def _course(runs: list[Result]) -> list[tuple[int, float]]:
    """The mean score of all styles so far, by their number; `joint` has but the last one."""
    if runs[0].method == JOINT:
        return [(len(runs[0].styles), mean(run.kept for run in runs))]
    rows = zip(*(run.matrix for run in runs), strict=False)
    return [(count, mean(mean(row) for row in same)) for count, same in enumerate(rows, start=1)]


def _cross(canvas: ImageDraw.ImageDraw, panel: _Panel, runs: list[Result], color: Color) -> None:
    learned, kept = [run.learned for run in runs], [min(1.0, _kept(run)) for run in runs]
    canvas.line([panel.at(min(learned), mean(kept)), panel.at(max(learned), mean(kept))], fill=color, width=2)
    canvas.line([panel.at(mean(learned), min(kept)), panel.at(mean(learned), max(kept))], fill=color, width=2)


def _mark(canvas: ImageDraw.ImageDraw, point: tuple[float, float], color: Color, mark: str, r: int) -> None:
    x, y = point
    if mark == "circle":
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=color, outline=PAPER)
        return
    corners = {
        "square": [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
        "diamond": [(x, y - r), (x + r, y), (x, y + r), (x - r, y)],
        "triangle": [(x, y - r), (x + r, y + r), (x - r, y + r)],
    }[mark]
    canvas.polygon(corners, fill=color, outline=PAPER)
