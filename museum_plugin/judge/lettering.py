"""Text in pictures: one font, wrapping, and the colours that all report pictures share."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
PAPER: Color = (250, 250, 248)
INK: Color = (32, 33, 36)
FAINT_INK: Color = (95, 99, 104)
RULE: Color = (218, 220, 224)
_LINE_HEIGHT = 1.3


@dataclass(frozen=True)
class TextBlock:
    """Text broken into lines that fit a width. The built-in font knows Latin letters; others become boxes."""

    lines: tuple[str, ...]
    size: int
    """Pixels, of the font."""

    @property
    def height(self) -> int:
        """Pixels."""
        return round(len(self.lines) * self.size * _LINE_HEIGHT)

    @property
    def width(self) -> int:
        """Pixels of the widest line."""
        return max((round(font(self.size).getlength(line)) for line in self.lines), default=0)

    def draw(self, canvas: ImageDraw.ImageDraw, x: float, y: float, *, color: Color = INK, anchor: str = "l") -> None:
        """Write the block with its top at y and its left edge, middle or right edge ("l", "m", "r") at x."""
        for i, line in enumerate(self.lines):
            middle = y + (i + 0.5) * self.size * _LINE_HEIGHT
            canvas.text((x, middle), line, fill=color, font=font(self.size), anchor=f"{anchor}m")


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font; size in pixels."""
    return ImageFont.load_default(size)


def wrap(text: str, size: int, width: float, *, max_lines: int = 8) -> TextBlock:
    """Break text at spaces, and words that are too long anywhere; what goes beyond max_lines becomes an ellipsis.

    Args:
        size: pixels, of the font.
        width: pixels; every line fits, down to a single character.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}".strip()
        if _fits(joined, size, width):
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, size, width)
        lines += full
    lines.append(line)
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and not _fits(f"{last}…", size, width):
            last = last[:-1]
        lines = [*lines[: max_lines - 1], f"{last}…"]
    return TextBlock(tuple(lines), size)


def _fits(text: str, size: int, width: float) -> bool:
    return font(size).getlength(text) <= width


def _pieces(word: str, size: int, width: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and not _fits(pieces[-1] + letter, size, width):
            pieces.append("")
        pieces[-1] += letter
    return pieces


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
