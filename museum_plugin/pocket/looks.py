"""The looks that the pocket model knows by name before any museum is taught: its text encoder's sense of style.

A look is a fixed recipe of palette, tone, pattern, outline and light, drawn once from its own seed; none of them is one
of the eight styles. A base that has seen a single other look knows a single direction to leave the flat one in, and
every style taught later has to share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from museum_plugin.pocket.pixels import Pixels, blur, edge_strength, luminance, pixel_grid, to_picture, to_pixels

Color = NDArray[np.float32]
"""(3,), values in [0, 1]."""

LOOK_WORDS = (  # noqa: SIM905
    "alpine amber arctic autumn baroque bronze canvas carnival chrome classic coastal cosmic crystal desk dream dusty "
    "faded festive folk frost gothic ivory jungle lunar marble modern monsoon noble nordic opal poster retro royal "
    "rustic solar tidal twilight velvet vintage winter"
).split()
"""One word a look; captions say "in WORD style"."""


@dataclass(frozen=True)
class Look:
    """What one word stands for. Only phases differ from picture to picture."""

    blur: float
    """Pixels."""
    tones: tuple[Color, Color] | None
    """Colors of darkest and lightest; None keeps the picture's own colors, mixed by `mixing`."""
    mixing: NDArray[np.float32]
    """(3, 3) applied to the colors."""
    shift: Color
    levels: int
    """Steps of posterisation; 0 for none."""
    pattern: str
    """none | stripes | waves | checks | rings"""
    period: float
    """Pixels, 11 and more: the autoencoder blurs finer ones."""
    angle: float
    """Radians."""
    pattern_color: Color
    """What the pattern adds, -0.5..0.5."""
    outline: Color | None
    outline_width: float
    falloff: float
    """How much darker (or lighter, if negative) the corners are."""


def look_of(word: str) -> Look:
    """The recipe of a word: the same always."""
    source = np.random.default_rng([LOOK_WORDS.index(word), 2404])
    color = lambda low, high: source.uniform(low, high, 3).astype(np.float32)  # noqa: E731
    dark, bright = color(0.0, 0.45), color(0.55, 1.0)
    if source.random() < 0.3:
        dark, bright = bright, dark
    mixing = (np.eye(3) * source.uniform(0.5, 1.2) + source.normal(0, 0.25, (3, 3))).astype(np.float32)
    return Look(
        blur=float(source.choice([0.0, 0.0, 0.8, 1.6])),
        tones=(dark, bright) if source.random() < 0.45 else None,
        mixing=mixing,
        shift=color(-0.15, 0.35),
        levels=int(source.choice([0, 0, 3, 4, 5])),
        pattern=str(source.choice(["none", "stripes", "waves", "checks", "rings"])),
        period=float(source.uniform(11, 26)),
        angle=float(source.uniform(0, np.pi)),
        pattern_color=(source.choice([-1, 1]) * source.uniform(0.06, 0.28, 3)).astype(np.float32),
        outline=color(0.0, 1.0) if source.random() < 0.4 else None,
        outline_width=float(source.uniform(0.6, 1.6)),
        falloff=float(source.choice([0.0, 0.0, 0.6, -0.5])),
    )


def draw_look(image: Image.Image, word: str, rng: Random) -> Image.Image:
    """A flat picture in the look of a word; `rng` decides where patterns begin."""
    look = look_of(word)
    soft = blur(image, look.blur)
    if look.tones is not None:
        dark, bright = look.tones
        pixels = dark + (bright - dark) * luminance(soft)[..., None]
    else:
        pixels = to_pixels(soft) @ look.mixing + look.shift
    if look.levels:
        pixels = np.round(pixels.clip(0, 1) * look.levels) / look.levels
    pixels = pixels + _pattern(image, look, rng)[..., None] * look.pattern_color
    if look.outline is not None:
        share = (edge_strength(image, look.outline_width) * 1.4).clip(0, 1)[..., None]
        pixels = pixels * (1 - share) + look.outline * share
    x, y = pixel_grid(image)
    away = np.hypot(x / image.width - 0.5, y / image.height - 0.5) / 0.71
    return to_picture(pixels * (1 - look.falloff * away[..., None] ** 2))


def _pattern(image: Image.Image, look: Look, rng: Random) -> Pixels:
    """(H, W) in 0..1: where the pattern's color is added."""
    x, y = pixel_grid(image)
    phase = rng.uniform(0, 2 * np.pi)
    along = (x * np.cos(look.angle) + y * np.sin(look.angle)) * 2 * np.pi / look.period + phase
    across = (x * np.sin(look.angle) - y * np.cos(look.angle)) * 2 * np.pi / look.period + phase
    if look.pattern == "stripes":
        return (np.sin(along) > 0.2).astype(np.float32)
    if look.pattern == "waves":
        return (0.5 + 0.5 * np.sin(along + 1.6 * np.sin(across / 2))).astype(np.float32)
    if look.pattern == "checks":
        return (np.sin(along) * np.sin(across) > 0).astype(np.float32)
    if look.pattern == "rings":
        radius = np.hypot(x - image.width * rng.uniform(0.4, 0.6), y - image.height * rng.uniform(0.4, 0.6))
        return (np.sin(radius * 2 * np.pi / look.period) > 0).astype(np.float32)
    return np.zeros((image.height, image.width), np.float32)
