"""Charts as inline SVG: heat maps with their figures, curves, bars. Colors and fonts come from the page's style sheet.

Lines are told apart by dash and marker, heat by lightness and by its figures: no reader has to tell colors apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from museum_plugin.judge.lettering import Color
from museum_plugin.judge.matrix_picture import shade, text_color

Curve = list[tuple[float, float]]
"""(x, y), by rising x."""
_CELL, _ROW, _GAP = 58, 40, 3
_LETTER = 7.2
"""Width of an ordinary letter of a label; all sizes are in the SVG's own units, about a CSS pixel each."""
_LONGEST = 15
"""Letters of a label."""
_CHART = (440, 250)
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 40
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 5", "12 4")
LINE_COLORS = 8
"""Classes c0 .. c7 of the style sheet."""


def short(text: str) -> str:
    """A label that fits; the whole name is shown on hovering."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    title: str,
    figure: Callable[[float], str] = "{:.2f}".format,
) -> str:
    """A table of numbers in 0..1 as shades with their figures; None is an empty place, NaN one that is not known.

    Args:
        values: a row for each of `rows`; a row may end early.
        title: says what is shown, for those who do not see it.
        figure: how a number is written.
    Raises:
        ValueError: not one row of values for each row, or a row with more values than columns.
    """
    if len(values) != len(rows) or any(len(row) > len(columns) for row in values):
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns, found {[len(row) for row in values]} values")
    left = round(max((len(short(name)) for name in rows), default=0) * _LETTER) + 12
    slanted = any(len(name) > _CELL // _LETTER for name in columns)
    top = round(max(len(short(name)) for name in columns) * _LETTER * 0.62) + 22 if slanted else 28
    overhang = round(len(short(columns[-1])) * _LETTER * 0.8) if slanted else 0
    width, height = left + len(columns) * _CELL + max(0, overhang - _CELL // 2) + 4, top + len(rows) * _ROW + 2
    parts = [_opening(width, height, title, "heat")]
    for j, name in enumerate(columns):
        x = left + j * _CELL + (_CELL - _GAP) / 2
        turned = f' transform="rotate(-38 {x - 8:g} {top - 8})" x="{x - 8:g}"' if slanted else f' x="{x:g}"'
        anchor = "start" if slanted else "middle"
        parts.append(f'<text class="label" y="{top - 8}"{turned} text-anchor="{anchor}">{_named(name)}</text>')
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + i * _ROW
        parts.append(
            f'<text class="label" x="{left - 10}" y="{y + _ROW / 2 + 3:g}" text-anchor="end">{_named(name)}</text>'
        )
        for j, value in enumerate(row):
            if value is not None:
                parts.append(_cell(left + j * _CELL, y, value, figure))
    return "".join([*parts, "</svg>"])


def _cell(x: int, y: int, value: float, figure: Callable[[float], str]) -> str:
    width, height = _CELL - _GAP, _ROW - _GAP
    at = f'x="{x + width / 2:g}" y="{y + height / 2 + 5:g}" text-anchor="middle"'
    if math.isnan(value):
        return f'<rect class="unknown" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/><text {at}>–</text>'
    color = shade(value)
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{_hex(color)}"/>'
        f'<text class="figure" {at} fill="{_hex(text_color(color))}">{escape(figure(value))}</text>'
    )


def line_chart(
    curves: Mapping[str, Curve], *, title: str, x_label: str, top: float | None = None, x_names: Sequence[str] = ()
) -> str:
    """Curves over one axis, with a legend below that shows each line as it is drawn.

    Args:
        curves: name -> (x, y) by rising x; y >= 0.
        top: end of the y axis; None: the largest value.
        x_names: what stands at x = 0, 1, 2 ...; empty: the numbers themselves.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        raise ValueError("a chart needs a point")
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    ceiling = top or nice_ceiling(max(y for _, y in points))
    width, height = _CHART
    span = last - first or 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - first) / span * (width - _LEFT - _RIGHT)
        return across, _TOP + (1 - min(y, ceiling) / ceiling) * (height - _TOP - _BOTTOM)

    parts = [_opening(width, height, title, "lines"), *_axes(place, first, last, ceiling, x_names)]
    parts.append(
        f'<text class="label" x="{width - _RIGHT}" y="{height - 4}" text-anchor="end">{escape(x_label)}</text>'
    )
    for number, curve in enumerate(curves.values()):
        parts += _line([place(x, y) for x, y in curve], number)
    legend = "".join(_key(name, number) for number, name in enumerate(curves))
    return "".join([*parts, "</svg>", f'<ul class="legend">{legend}</ul>'])


def nice_ceiling(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _axes(
    place: Callable[[float, float], tuple[float, float]],
    first: float,
    last: float,
    ceiling: float,
    x_names: Sequence[str],
) -> list[str]:
    parts = []
    right = _CHART[0] - _RIGHT
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(first, share * ceiling)
        parts.append(f'<line class="rule" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="label" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * ceiling:.3g}</text>'
        )
    if x_names:
        stride = max(1, -(-len(x_names) // 8))
        marks = [(float(i), short(name)[:9]) for i, name in enumerate(x_names)][::stride]
    else:
        marks = [(x, f"{x:.0f}") for x in (first, (first + last) / 2, last)]
    for x, text in marks:
        across, floor = place(x, 0)
        end = "start" if x == first else "end" if x == last else "middle"
        parts.append(
            f'<text class="label" x="{across:.1f}" y="{floor + 16:.1f}" text-anchor="{end}">{escape(text)}</text>'
        )
    return parts


def _line(places: Sequence[tuple[float, float]], number: int) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line {_class(number)}" stroke-dasharray="{_dash(number)}" points="{path}"/>']
    marked = places if len(places) <= 12 else [places[-1]]
    return parts + [_marker(x, y, number) for x, y in marked]


def _marker(x: float, y: float, number: int) -> str:
    kind, name = number % 4, f"mark {_class(number)}"
    if kind == 0:
        return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    if kind == 1:
        return f'<rect class="{name}" x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2"/>'
    sign = -1 if kind == 2 else 1
    corners = f"{x:.1f},{y + sign * 5:.1f} {x + 4.6:.1f},{y - sign * 3.4:.1f} {x - 4.6:.1f},{y - sign * 3.4:.1f}"
    return f'<polygon class="{name}" points="{corners}"/>'


def _key(name: str, number: int) -> str:
    line = f'<polyline class="line {_class(number)}" stroke-dasharray="{_dash(number)}" points="2,8 34,8"/>'
    picture = f'<svg viewBox="0 0 36 16" width="36" height="16" aria-hidden="true">{line}{_marker(18, 8, number)}</svg>'
    return f"<li>{picture}{escape(name)}</li>"


def bar(share: float, was: float | None = None) -> str:
    """A bar from 0 to 1, with a mark where it once ended."""
    width = 100 * min(1.0, max(0.0, share))
    mark = "" if was is None else f'<line class="was" x1="{100 * was:.1f}" y1="0" x2="{100 * was:.1f}" y2="12"/>'
    value = f'<rect class="value" width="{width:.1f}" height="12"/>'
    return (
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="12"/>{value}{mark}</svg>'
    )


def _opening(width: int, height: int, title: str, name: str) -> str:
    return (
        f'<svg class="{name}" role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><title>{escape(title)}</title>'
    )


def _named(name: str) -> str:
    return f"<title>{escape(name)}</title>{escape(short(name))}"


def _class(number: int) -> str:
    return f"c{number % LINE_COLORS}"


def _dash(number: int) -> str:
    return _DASHES[number % len(_DASHES)]


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
