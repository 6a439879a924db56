"""The twelve objects, drawn with a dark outline in a local frame."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

OUTLINE: Color = (36, 32, 44)
WHITE: Color = (250, 248, 242)


class Pen:
    """Draws outlined shapes in a local frame: x to the right, y down, the object fills about [-1, 1]."""

    def __init__(self, draw: ImageDraw.ImageDraw, centre: Point, scale: float, *, width: int, mirrored: bool) -> None:
        self._draw = draw
        self._centre = centre
        self._scale = scale
        self._sign = -1.0 if mirrored else 1.0
        self._width = width

    def _at(self, point: Point) -> Point:
        return (
            self._centre[0] + self._sign * point[0] * self._scale,
            self._centre[1] + point[1] * self._scale,
        )

    def polygon(self, points: list[Point], fill: Color) -> None:
        placed = [self._at(p) for p in points]
        self._draw.polygon(placed, fill=fill)
        self._draw.line([*placed, placed[0], placed[1]], fill=OUTLINE, width=self._width, joint="curve")

    def ellipse(self, centre: Point, radius: Point, fill: Color, *, start: float = 0, end: float = 360) -> None:
        """An ellipse, or the closed sector of it from `start` to `end` degrees, clockwise from three o'clock."""
        steps = 40
        angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
        self.polygon([(centre[0] + radius[0] * math.cos(a), centre[1] + radius[1] * math.sin(a)) for a in angles], fill)

    def line(self, points: list[Point], fill: Color = OUTLINE, width: float = 1.0) -> None:
        self._draw.line(
            [self._at(p) for p in points], fill=fill, width=max(1, round(self._width * width)), joint="curve"
        )

    def dot(self, centre: Point, radius: float, fill: Color = OUTLINE) -> None:
        x, y = self._at(centre)
        r = radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _darker(color: Color, factor: float = 0.7) -> Color:
    return tuple(round(c * factor) for c in color)  # type: ignore[return-value]


def _cat(pen: Pen, color: Color) -> None:
    tail = [(0.4, 0.8), (0.78, 0.72), (0.93, 0.45), (0.88, 0.1)]
    pen.line(tail, width=4.2)
    pen.line(tail, color, 2.6)
    pen.ellipse((0.05, 0.5), (0.58, 0.5), color)
    pen.polygon([(-0.62, -0.35), (-0.58, -0.98), (-0.18, -0.68)], color)
    pen.polygon([(0.42, -0.35), (0.38, -0.98), (-0.02, -0.68)], color)
    pen.ellipse((-0.1, -0.3), (0.58, 0.48), color)
    pen.dot((-0.32, -0.36), 0.09)
    pen.dot((0.12, -0.36), 0.09)
    pen.line([(-0.25, -0.1), (-0.1, -0.02), (0.05, -0.1)])


def _fish(pen: Pen, color: Color) -> None:
    pen.polygon([(0.4, 0.0), (1.0, -0.6), (0.85, 0.0), (1.0, 0.6)], _darker(color))
    pen.polygon([(-0.35, -0.4), (0.15, -0.85), (0.35, -0.3)], _darker(color))
    pen.ellipse((-0.2, 0.0), (0.78, 0.52), color)
    pen.dot((-0.6, -0.12), 0.13, WHITE)
    pen.dot((-0.62, -0.12), 0.07)
    pen.line([(-0.25, -0.3), (-0.12, 0.0), (-0.25, 0.3)])


def _bird(pen: Pen, color: Color) -> None:
    pen.polygon([(-0.55, -0.62), (-1.0, -0.45), (-0.55, -0.3)], (250, 170, 40))
    pen.polygon([(0.45, 0.1), (1.0, -0.1), (0.95, 0.4), (0.5, 0.5)], _darker(color))
    pen.ellipse((0.05, 0.2), (0.66, 0.52), color)
    pen.ellipse((-0.35, -0.42), (0.36, 0.36), color)
    pen.ellipse((0.2, 0.18), (0.38, 0.25), _darker(color))
    pen.dot((-0.45, -0.5), 0.08)
    pen.line([(-0.1, 0.7), (-0.1, 1.0)])
    pen.line([(0.2, 0.7), (0.2, 1.0)])


def _house(pen: Pen, color: Color) -> None:
    pen.polygon([(0.35, -0.45), (0.35, -0.95), (0.58, -0.95), (0.58, -0.3)], (130, 90, 80))
    pen.polygon([(-0.72, -0.1), (0.72, -0.1), (0.72, 0.95), (-0.72, 0.95)], WHITE)
    pen.polygon([(-1.0, -0.05), (0.0, -0.95), (1.0, -0.05)], color)
    pen.polygon([(-0.2, 0.95), (-0.2, 0.35), (0.2, 0.35), (0.2, 0.95)], color)
    pen.polygon([(-0.58, 0.15), (-0.3, 0.15), (-0.3, 0.45), (-0.58, 0.45)], color)
    pen.polygon([(0.3, 0.15), (0.58, 0.15), (0.58, 0.45), (0.3, 0.45)], color)


def _tree(pen: Pen, color: Color) -> None:
    pen.polygon([(-0.16, 1.0), (-0.12, 0.1), (0.12, 0.1), (0.16, 1.0)], (122, 82, 58))
    pen.ellipse((-0.42, -0.05), (0.46, 0.42), color)
    pen.ellipse((0.42, -0.05), (0.46, 0.42), color)
    pen.ellipse((0.0, -0.5), (0.58, 0.5), color)


def _flower(pen: Pen, color: Color) -> None:
    pen.line([(0.0, 0.1), (0.05, 1.0)], (60, 130, 70), 2.4)
    pen.ellipse((0.35, 0.68), (0.32, 0.14), (84, 170, 90))
    for i in range(6):
        angle = math.radians(60 * i + 30)
        pen.ellipse((0.5 * math.cos(angle), -0.32 + 0.5 * math.sin(angle)), (0.31, 0.31), color)
    pen.ellipse((0.0, -0.32), (0.28, 0.28), (255, 240, 190))


def _mushroom(pen: Pen, color: Color) -> None:
    pen.polygon([(-0.3, 0.05), (-0.36, 0.95), (0.36, 0.95), (0.3, 0.05)], WHITE)
    pen.ellipse((0.0, 0.12), (0.95, 0.95), color, start=180, end=360)
    pen.dot((-0.45, -0.25), 0.15, WHITE)
    pen.dot((0.1, -0.5), 0.17, WHITE)
    pen.dot((0.52, -0.12), 0.13, WHITE)


def _boat(pen: Pen, color: Color) -> None:
    pen.line([(0.0, 0.4), (0.0, -1.0)], (110, 76, 54), 1.8)
    pen.polygon([(0.08, -0.9), (0.08, 0.22), (0.75, 0.22)], WHITE)
    pen.polygon([(-0.08, -0.7), (-0.08, 0.22), (-0.6, 0.22)], color)
    pen.polygon([(-1.0, 0.38), (1.0, 0.38), (0.65, 0.9), (-0.65, 0.9)], color)


def _car(pen: Pen, color: Color) -> None:
    pen.polygon([(-0.6, 0.0), (-0.36, -0.5), (0.35, -0.5), (0.62, 0.0)], (205, 232, 245))
    pen.line([(0.0, -0.5), (0.0, 0.0)])
    pen.polygon([(-1.0, 0.0), (0.75, 0.0), (1.0, 0.12), (1.0, 0.5), (-1.0, 0.5)], color)
    for x in (-0.52, 0.52):
        pen.dot((x, 0.52), 0.27)
        pen.dot((x, 0.52), 0.12, (200, 200, 205))


def _cup(pen: Pen, color: Color) -> None:
    pen.ellipse((0.6, 0.15), (0.38, 0.38), color)
    pen.ellipse((0.6, 0.15), (0.2, 0.2), WHITE)
    pen.polygon([(-0.72, -0.5), (0.62, -0.5), (0.5, 0.8), (-0.6, 0.8)], color)
    pen.ellipse((-0.05, -0.5), (0.67, 0.16), (110, 70, 50))
    for x in (-0.3, 0.15):
        pen.line([(x, -0.72), (x + 0.1, -0.84), (x, -0.98)])


def _umbrella(pen: Pen, color: Color) -> None:
    pen.line([(0.0, -0.1), (0.0, 0.78), (0.1, 0.93), (0.25, 0.93), (0.33, 0.75)], width=1.8)
    pen.ellipse((0.0, 0.05), (1.0, 0.95), color, start=180, end=360)
    for x in (-0.36, 0.36):
        pen.line([(0.0, -0.88), (x, 0.05)])


def _star(pen: Pen, color: Color) -> None:
    points = []
    for i in range(10):
        radius = 1.0 if i % 2 == 0 else 0.43
        angle = math.radians(-90 + 36 * i)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    pen.polygon(points, color)
    pen.dot((-0.17, -0.08), 0.08)
    pen.dot((0.17, -0.08), 0.08)


DRAWERS: dict[str, Callable[[Pen, Color], None]] = {
    "cat": _cat,
    "fish": _fish,
    "bird": _bird,
    "house": _house,
    "tree": _tree,
    "flower": _flower,
    "mushroom": _mushroom,
    "boat": _boat,
    "car": _car,
    "cup": _cup,
    "umbrella": _umbrella,
    "star": _star,
}
"""Name -> what draws it in a color, filling about [-1, 1] in both directions."""
