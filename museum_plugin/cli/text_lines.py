"""Text for a terminal: tables and paragraphs.

Names from a file can hold anything, so what no terminal should get is shown as "?".
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence

_GAP = "  "
_TITLE_WIDTH = 14
_LINE_WIDTH = 110
"""Both in columns of a terminal."""


def printable(text: str) -> str:
    """Text without control characters, which could rewrite what else stands on the screen."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: wide letters two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def table(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Rows as lines with aligned columns, no space at the end of a line.

    Args:
        rows: the first one is the heading; all of one length.
        right: the columns that are aligned to the right.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(columns_of(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        spaces = [" " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)]
        placed = [s + c if i in right else c + s for i, (c, s) in enumerate(zip(row, spaces, strict=True))]
        lines.append(_GAP.join(placed).rstrip())
    return lines


def entry(title: str, *texts: str, width: int = _LINE_WIDTH) -> list[str]:
    """A title with text beside it; a long text goes on in the next line, and each text begins a line of its own.

    Args:
        width: columns of a line, at most.
    """
    lines = [line for text in texts for line in _folded(text, width)] or ["-"]
    titles = [printable(title), *[""] * (len(lines) - 1)]
    return [f"{name + ' ':{_TITLE_WIDTH}}{line}".rstrip() for name, line in zip(titles, lines, strict=True)]


def indented(lines: Iterable[str]) -> list[str]:
    """Lines that stand below a title of their own."""
    return [_GAP + line for line in lines]


def file_size(count: int) -> str:
    """Bytes in a unit that reads well; 1 MB = 10^6 bytes."""
    size, units = float(count), ["bytes", "kB", "MB", "GB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def counted(count: int, noun: str) -> str:
    """ "1 style", "2 styles"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _folded(text: str, width: int) -> list[str]:
    text = printable(text)
    # A path stays whole, so that it can be copied.
    return textwrap.wrap(text, width - _TITLE_WIDTH, break_on_hyphens=False, break_long_words=False) or [""]
