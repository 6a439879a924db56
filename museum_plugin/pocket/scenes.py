"""Procedural pictures with captions: twelve objects, six colours, four places, drawn flat with a dark outline."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from museum_plugin.pocket.objects import DRAWERS, Color, Pen

PICTURE_SIZE = 128
"""Width and height of every picture, in pixels."""
_SUPERSAMPLE = 3

COLORS: dict[str, Color] = {
    "red": (214, 40, 40),
    "orange": (243, 136, 28),
    "yellow": (250, 218, 60),
    "green": (52, 160, 70),
    "blue": (48, 98, 214),
    "purple": (140, 66, 180),
}
PLACES: dict[str, str] = {
    "meadow": "in a meadow",
    "desert": "in the desert",
    "snow": "in the snow",
    "night": "at night",
}
OBJECTS: tuple[str, ...] = tuple(DRAWERS)


@dataclass(frozen=True)
class Scene:
    """What one picture shows. The same scene can be drawn many times: size and position vary, content does not."""

    object: str
    color: str
    place: str

    def caption(self) -> str:
        """The full caption, such as "a red cat in a meadow"."""
        return f"{_article(self.color)} {self.color} {self.object} {PLACES[self.place]}"


def all_scenes() -> Iterator[Scene]:
    """Every combination of object, color and place, in a fixed order."""
    for name in OBJECTS:
        for color in COLORS:
            for place in PLACES:
                yield Scene(name, color, place)


def held_out_scenes() -> list[Scene]:
    """Combinations that the U-Net is never trained on.

    One scene in eight; every object, color and place still appears in training, in other company.
    """
    held = []
    for i, name in enumerate(OBJECTS):
        for j, color in enumerate(COLORS):
            if (i + j) % 2 == 0:
                held.append(Scene(name, color, list(PLACES)[(i // 2 + j) % 4]))
    return held


def training_scenes() -> list[Scene]:
    """Every scene that is not held out."""
    held = set(held_out_scenes())
    return [scene for scene in all_scenes() if scene not in held]


def draw(scene: Scene, rng: Random) -> Image.Image:
    """Draw a scene.

    Args:
        scene: what to show.
        rng: decides size, position, mirroring, small shifts of color and the scattered details of the place.
    Returns:
        RGB picture of PICTURE_SIZE x PICTURE_SIZE pixels.
    """
    side = PICTURE_SIZE * _SUPERSAMPLE
    image = Image.new("RGB", (side, side))
    pen = ImageDraw.Draw(image)
    _draw_place(pen, scene.place, side, rng)
    scale = side * rng.uniform(0.34, 0.40)
    centre = (side * rng.uniform(0.46, 0.54), side * rng.uniform(0.50, 0.55))
    local = Pen(pen, centre, scale, width=round(2.1 * _SUPERSAMPLE), mirrored=rng.random() < 0.5)
    DRAWERS[scene.object](local, _jitter(COLORS[scene.color], rng))
    return image.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)


def caption_variant(scene: Scene, rng: Random) -> str:
    """One of several ways to say what a picture shows; some leave a part unsaid, as people do."""
    subject = f"{scene.color} {scene.object}"
    article = _article(scene.color)
    place = PLACES[scene.place]
    forms = (
        (6.0, scene.caption()),
        (1.0, f"{subject} {place}"),
        (1.0, f"{subject}, {scene.place}"),
        (1.0, f"a picture of {article} {subject} {place}"),
        (1.0, f"{scene.caption()} in flat style"),
        (1.0, f"{article} {subject}"),
        (0.5, f"{_article(scene.object)} {scene.object} {place}"),
        (0.5, f"{_article(scene.object)} {scene.object}"),
    )
    return rng.choices([text for _, text in forms], [weight for weight, _ in forms])[0]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _jitter(color: Color, rng: Random) -> Color:
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in color))
    hue = (hue + rng.uniform(-0.008, 0.008)) % 1
    value = min(1.0, value * rng.uniform(0.93, 1.07))
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value))  # type: ignore[return-value]


def _draw_place(pen: ImageDraw.ImageDraw, place: str, side: int, rng: Random) -> None:
    horizon = side * rng.uniform(0.60, 0.68)
    sky, ground = {
        "meadow": ((178, 222, 245), (172, 214, 128)),
        "desert": ((252, 232, 196), (226, 186, 126)),
        "snow": ((206, 214, 228), (250, 251, 254)),
        "night": ((40, 46, 92), (64, 72, 108)),
    }[place]
    pen.rectangle((0, 0, side, side), fill=sky)
    if place == "desert":
        pen.ellipse(_circle(side * rng.choice((0.15, 0.85)), side * 0.15, side * 0.09), fill=(255, 214, 120))
    if place == "night":
        for _ in range(9):
            pen.ellipse(_circle(side * rng.random(), horizon * rng.random(), side * 0.009), fill=(240, 240, 210))
        moon = side * rng.choice((0.15, 0.85))
        pen.ellipse(_circle(moon, side * 0.15, side * 0.1), fill=(246, 240, 200))
    hill = side * rng.uniform(0.2, 0.8)
    pen.rectangle((0, horizon, side, side), fill=ground)
    pen.ellipse((hill - side * 0.7, horizon - side * 0.08, hill + side * 0.7, side * 1.3), fill=ground)
    if place == "snow":
        for _ in range(14):
            pen.ellipse(_circle(side * rng.random(), side * rng.random(), side * 0.014), fill=(255, 255, 255))
    if place == "meadow":
        for _ in range(10):
            x, y = side * rng.random(), horizon + (side - horizon) * rng.uniform(0.2, 1)
            pen.line((x, y, x + side * 0.01, y - side * 0.05), fill=(110, 170, 80), width=side // 90)


def _circle(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return (x - radius, y - radius, x + radius, y + radius)
