"""The page about a museum: one HTML file that needs nothing beside it, no script, no font, no picture file."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

from museum_plugin.judge.matrix import average_forgetting, percent
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.page_curves import curve_sections, lessons_section
from museum_plugin.judge.page_pictures import grid_section, memory_section
from museum_plugin.judge.page_styles import confusion_section, ledger_section, matrix_section, styles_section
from museum_plugin.judge.retention import NO_TRIGGER

_NO_RESOURCES = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the page asks of a browser: to load nothing at all."""


def page(content: PageContent) -> str:
    """The whole file."""
    sections = [
        _banner(content),
        styles_section(content),
        grid_section(content),
        f'<div class="pair">{matrix_section(content)}{lessons_section(content)}</div>',
        f'<div class="pair">{confusion_section(content)}{memory_section(content)}</div>',
        *curve_sections(content),
        ledger_section(content),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_NO_RESOURCES}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(content.name)}: museum</title>\n<style>\n{_style_sheet()}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(content)}\n"
        + "\n".join(section for section in sections if section)
        + f"\n{_foot()}\n</main>\n</body>\n"
        "</html>\n"
    )


@cache
def _style_sheet() -> str:
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def _head(content: PageContent) -> str:
    ledger = content.ledger
    count = len(ledger.styles)
    newest = ledger.styles[-1]
    return (
        f"<h1>{escape(content.name)}</h1>"
        f'<p class="faint">{count} style{"s" if count != 1 else ""} on {escape(ledger.base.name)} '
        f"({escape(ledger.base.family)}); the newest is {escape(newest.name)}, taught "
        f"{escape(newest.taught_at[:10])}</p>"
    )


def _banner(content: PageContent) -> str:
    findings = content.findings
    against = findings.objections()
    old = len(findings.learned)
    if against:
        title, sign, kind = "The gate would refuse this museum", "✕", "banner bad"
        told = "It would not replace the one before: " + escape("; ".join(against)) + "."
    elif old:
        title, sign, kind = "The old styles are still there", "✓", "banner"
        told = f"{old} old style{'s' if old != 1 else ''}, measured by what the gate asks of a museum."
    else:
        title, sign, kind = "The first style is in", "✓", "banner"
        told = "There is no old style yet that could have been forgotten."
    sentences = "".join(f"<li>{escape(line)}</li>" for line in findings.verdict.sentences(findings.learned))
    return (
        f'<section class="{kind}"><h2><span class="sign" aria-hidden="true">{sign}</span>{title}</h2><p>{told}</p>'
        f'<div class="tiles">{_tiles(content)}</div>'
        f"<details><summary>The verdict in words</summary><ul>{sentences}</ul></details></section>"
    )


def _tiles(content: PageContent) -> str:
    findings, tiles = content.findings, []
    kept = findings.verdict.kept(findings.learned)
    if kept:
        least = min(kept, key=lambda name: kept[name])
        tiles.append((percent(kept[least]), f"of its first score is the least that an old style keeps ({least})"))
    tiles.append((f"{findings.verdict.drift:.2f}", "drift without a trigger; 1 is as far as a style"))
    own = [row[name] for name, row in findings.confusion.items()]
    tiles.append((percent(sum(own) / len(own)), "of all pictures are seen as their own style"))
    names, matrix = content.ledger.retention_matrix()
    if len(names) > 1:
        tiles.append((f"{average_forgetting(matrix):.2f}", "average forgetting, in points of the score"))
    if findings.prediction_drift:
        told = "predictions moved without a trigger; 1 is what a style does"
        tiles.append((f"{findings.prediction_drift[NO_TRIGGER]:.2f}", told))
    return "".join(f'<div class="tile"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in tiles)


def _foot() -> str:
    return (
        "<footer><p>Scores compare the statistics of latents: 0 = drawn as the base model draws, 1 = the statistics of "
        "the style's own pictures. They see texture, palette and light, not what is shown: look at the pictures, too."
        "</p></footer>"
    )
