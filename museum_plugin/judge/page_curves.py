"""The page's curves: scores from lesson to lesson, scores and losses while a style was learned."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from museum_plugin.judge.charts import Curve, line_chart
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.retention import NO_TRIGGER

_COURSE = "course"
"""Field of a style's record: its scores while it was learned, one table a point."""


def curve_sections(content: PageContent) -> list[str]:
    """What went on while styles were learned: a section for scores and one for losses, where there are any."""
    courses = {record.name: _course(record.extra.get(_COURSE)) for record in content.ledger.styles}
    sections = [
        _section(
            "Scores while a style was learned",
            "The score of the new style, what old ones keep, and the drift without a trigger, on few pictures.",
            {name: curves for name, curves in courses.items() if curves},
            top=1.0,
        ),
        _section("Losses", "Each term with its weight, smoothed over about 20 steps.", content.losses, top=None),
    ]
    return [section for section in sections if section]


def lessons_section(content: PageContent) -> str:
    """The score of each style after each lesson; nothing with a single style."""
    names, matrix = content.ledger.retention_matrix()
    curves: dict[str, Curve] = {}
    for j, name in enumerate(names):
        points = ((i, matrix[i][j]) for i in range(j, len(names)))
        curve = [(float(i), score) for i, score in points if score is not None]
        if curve:
            curves[name] = curve
    if len(names) < 2 or not curves:
        return ""
    chart = line_chart(curves, title="Scores after each lesson", x_label="after learning", top=1.0, x_names=names)
    return (
        '<section><h2>Scores after each lesson</h2><p class="note">A flat line is a style that was kept.</p>'
        f"{chart}</section>"
    )


def _section(title: str, note: str, charts: Mapping[str, Mapping[str, Curve]], *, top: float | None) -> str:
    drawn = "".join(
        f"<div><h3>{escape(name)}</h3>{line_chart(curves, title=f'{title}: {name}', x_label='step', top=top)}</div>"
        for name, curves in charts.items()
    )
    if not drawn:
        return ""
    return f'<section><h2>{title}</h2><p class="note">{note}</p><div class="pair">{drawn}</div></section>'


def _course(points: Any) -> dict[str, Curve]:
    """The curves of a record's points; nothing of what is no such thing."""
    curves: dict[str, Curve] = {}
    for point in points if isinstance(points, list) else ():
        try:
            step = float(point["step"])
            told = {"this style": point["score"], NO_TRIGGER: point["drift"], **point["kept"]}
            values = {str(name): float(value) for name, value in told.items()}
        except (KeyError, TypeError, ValueError):
            continue
        for name, value in values.items():
            curves.setdefault(name, []).append((step, value))
    return curves
