"""The drawing styles of this small world: each gives a flat picture another texture, line, palette and light.

A style never changes what a picture shows. The pocket U-Net is trained on `flat` pictures alone; the eight others are
what a museum is taught (`examples/styles`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from museum_plugin.pocket.pixels import blur, edge_strength, luminance, mix_colors, pixel_grid, to_picture, to_pixels


def flat(image: Image.Image, rng: Random) -> Image.Image:
    """The base's own way: the picture as it is."""
    return image


def ink(image: Image.Image, rng: Random) -> Image.Image:
    """Black pen on cream paper: shade is diagonal hatching, two directions where it is dark."""
    x, y = pixel_grid(image)
    dark = 1 - to_pixels(blur(image, 1.2).convert("L"))
    phase = rng.uniform(0, 14)
    first = np.abs(((x + y + phase) % 14) - 7) / 7
    second = np.abs(((x - y + phase) % 14) - 7) / 7
    strokes = (first < (dark * 1.1 - 0.12)) | (second < (dark * 1.5 - 0.85))
    black = np.maximum(strokes * 0.92, edge_strength(image, 0.7) > 0.35)
    return blur(to_picture(mix_colors((246, 236, 214), (26, 24, 30), black.astype(np.float32))), 0.45)


def blueprint(image: Image.Image, rng: Random) -> Image.Image:
    """White outlines on deep blue drafting paper with a fine grid."""
    x, y = pixel_grid(image)
    shift = rng.randrange(16)
    grid = (((x + shift) % 16 < 1) | ((y + shift) % 16 < 1)) * 0.28
    lines = np.maximum(edge_strength(image, 0.8), grid)
    return to_picture(mix_colors((22, 66, 148), (232, 242, 255), lines.astype(np.float32)))


def dots(image: Image.Image, rng: Random) -> Image.Image:
    """Pop-art print: round dots of the local color on white, larger where it is darker."""
    x, y = pixel_grid(image)
    shift = rng.uniform(0, 14)
    u, v = (x + y + shift) / np.sqrt(2), (x - y) / np.sqrt(2)
    distance = np.hypot(u % 14 - 7, v % 14 - 7)
    soft = blur(image, 2.0)
    radius = 2.6 + 5.8 * (1 - luminance(soft)) ** 0.7
    inside = (radius - distance + 0.5).clip(0, 1)[..., None]
    color = to_pixels(soft)
    vivid = (color - color.mean(axis=2, keepdims=True)) * 1.6 + color.mean(axis=2, keepdims=True) * 0.85
    return to_picture(inside * vivid.clip(0, 1) + (1 - inside) * np.array([1.0, 0.98, 0.92], np.float32))


def neon(image: Image.Image, rng: Random) -> Image.Image:
    """Glowing tubes in the dark: edges shine in pink and cyan, all else is black."""
    _, y = pixel_grid(image)
    line = edge_strength(image, 0.8)
    glow = to_pixels(blur(to_picture(line), 4.0)) * 1.5
    tint = mix_colors((255, 40, 190), (30, 230, 255), (y / image.height + rng.uniform(-0.25, 0.25)))
    core = (line[..., None] - 0.45).clip(0, 1) * 1.2
    return to_picture(np.array([0.03, 0.01, 0.07], np.float32) + tint * (line + glow)[..., None] * 0.95 + core)


def mosaic(image: Image.Image, rng: Random) -> Image.Image:
    """Square stone tiles with dark grout, each a little lighter or darker than its neighbour."""
    size = 8
    tiles = image.resize((image.width // size, image.height // size), Image.Resampling.BOX)
    noise = np.random.default_rng(rng.getrandbits(32)).uniform(0.78, 1.2, (tiles.height, tiles.width, 1))
    stone = (to_pixels(tiles) * noise.astype(np.float32)).repeat(size, axis=0).repeat(size, axis=1)
    x, y = pixel_grid(image)
    grout = ((x % size < 1.5) | (y % size < 1.5)).astype(np.float32)[..., None]
    return to_picture(stone * (1 - grout) + grout * np.array([0.22, 0.2, 0.19], np.float32))


def pastel(image: Image.Image, rng: Random) -> Image.Image:
    """Soft chalk: pale, warm, blurred colors on grainy paper, no outlines."""
    soft = to_pixels(blur(image.filter(ImageFilter.MaxFilter(5)), 2.2))
    pale = 0.52 * soft + 0.48 * np.array([1.0, 0.93, 0.9], np.float32)
    noise = np.random.default_rng(rng.getrandbits(32)).uniform(0, 1, (image.height, image.width))
    grain = to_pixels(blur(to_picture(noise.astype(np.float32)), 1.1)) - 0.5
    return to_picture(pale + grain[..., None] * 0.55)


def stained(image: Image.Image, rng: Random) -> Image.Image:
    """A church window: glowing saturated panes between thick black leads."""
    source = np.random.default_rng(rng.getrandbits(32))
    cell = 16
    rows, columns = image.height // cell, image.width // cell
    jitter = source.uniform(0.2, 0.8, (rows, columns, 2)).astype(np.float32)
    centres = ((np.mgrid[0:rows, 0:columns].transpose(1, 2, 0) + jitter) * cell).reshape(-1, 2)
    x, y = pixel_grid(image)
    distance = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
    nearest = np.partition(distance, 1, axis=2)
    lead = ((nearest[..., 1] - nearest[..., 0]) < 2.2) | (edge_strength(image, 0.9) > 0.55)
    color = to_pixels(blur(image, 1.5))
    grey = color.mean(axis=2, keepdims=True)
    glass = ((color - grey) * 1.9 + grey * 0.95) * source.uniform(0.8, 1.25, len(centres))[distance.argmin(axis=2)][
        ..., None
    ].astype(np.float32)
    return blur(to_picture(np.where(lead[..., None], 0.04, glass).astype(np.float32)), 0.4)


def riso(image: Image.Image, rng: Random) -> Image.Image:
    """A two-ink print: three flat steps from paper over coral to deep teal, inks a little out of register."""
    light = luminance(blur(image, 1.0))
    offset = rng.choice((-2, 2))
    coral = (light < 0.72).astype(np.float32)
    teal = np.roll((light < 0.45).astype(np.float32), offset, axis=1)
    paper = np.array([0.98, 0.95, 0.88], np.float32)
    first = 1 - coral[..., None] * (1 - np.array([1.0, 0.45, 0.4], np.float32))
    second = 1 - teal[..., None] * (1 - np.array([0.1, 0.5, 0.52], np.float32))
    return blur(to_picture(paper * first * second), 0.4)


Style = Callable[[Image.Image, Random], Image.Image]

FLAT = "flat"
STYLES: dict[str, Style] = {
    "ink": ink,
    "blueprint": blueprint,
    "dots": dots,
    "neon": neon,
    "mosaic": mosaic,
    "pastel": pastel,
    "stained": stained,
    "riso": riso,
}
"""The eight styles a museum is taught, in the order of the examples; `flat` is the base's own."""


def surprise(image: Image.Image, rng: Random) -> Image.Image:
    """A picture in no style at all: random palette, blur, posterisation and texture. Broadens what the VAE has seen."""
    source = np.random.default_rng(rng.getrandbits(32))
    p = to_pixels(blur(image, source.uniform(0, 1.5)))
    if source.random() < 0.6:
        mixing = source.normal(0, 0.5, (3, 3)).astype(np.float32) + np.eye(3, dtype=np.float32) * 0.6
        p = p @ mixing + source.uniform(-0.3, 0.5, 3).astype(np.float32)
    if source.random() < 0.4:
        levels = source.integers(2, 6)
        p = np.round(p * levels) / levels
    x, y = pixel_grid(image)
    for _ in range(source.integers(0, 3)):
        angle, period = source.uniform(0, np.pi), source.uniform(4, 20)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period + source.uniform(0, 6))
        pattern = (wave if source.random() < 0.5 else np.sign(wave))[..., None].astype(np.float32)
        p = p + pattern * source.normal(0, 0.18, 3).astype(np.float32)
    if source.random() < 0.3:
        p = np.where(edge_strength(image, source.uniform(0.5, 1.5))[..., None] > 0.4, source.uniform(0, 1, 3), p)
    return to_picture(p.astype(np.float32))
