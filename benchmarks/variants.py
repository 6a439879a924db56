"""More styles than are shipped: the shipped ones with other colors, which the classifier can judge all the same.

A variant is a shipped style and a change of colors that can be undone: the negative, or channels that trade places.
Pictures count for a variant as far as the classifier finds the style in them once the change is undone, and only if the
mean color of all of them is nearer to this variant's than to those of the style's other ones.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from museum_plugin.pocket.classifier import STYLE_NAMES, Classifier
from museum_plugin.pocket.styles import STYLES

EXAMPLES = Path("examples/styles")
_CHANNELS = {"rotated": (1, 2, 0), "turned": (2, 0, 1)}
"""Which channel of the picture is red, green and blue."""


@dataclass(frozen=True)
class Variant:
    """A shipped style in colors of its own: plain, negative, rotated or turned."""

    style: str
    colors: str

    @property
    def name(self) -> str:
        """What the museum calls it."""
        return self.style if self.colors == "plain" else f"{self.style}_{self.colors}"

    def change(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, h, w) in [-1, 1] of the style, in the colors of the variant."""
        order = _CHANNELS.get(self.colors)
        return images[:, list(order)] if order else -images if self.colors == "negative" else images

    def undo(self, images: Tensor) -> Tensor:
        """What `change` has changed, (B, 3, h, w), as it was."""
        order = _CHANNELS.get(self.colors)
        return images[:, np.argsort(order).tolist()] if order else self.change(images)


TWENTY = (
    *(Variant(style, "plain") for style in STYLES),
    *(Variant(style, "negative") for style in ("blueprint", "dots", "mosaic", "pastel", "stained", "riso")),
    *(Variant(style, "rotated") for style in ("ink", "blueprint", "neon", "pastel", "riso")),
    Variant("blueprint", "turned"),
)
"""The shipped styles first. Left out: those that cannot be told from another one, as the negative of ink from neon."""


def examples(style: str) -> tuple[list[Path], Tensor]:
    """The shipped pictures of a style: files, and (N, 3, h, w) in [-1, 1]."""
    files = sorted((EXAMPLES / style).glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) for file in files])
    return files, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def write_variant(variant: Variant, folder: Path) -> Path:
    """Write its pictures, captions and dataset TOML, and return the TOML."""
    files, images = examples(variant.style)
    (folder / variant.name).mkdir(parents=True, exist_ok=True)
    pixels = ((variant.change(images) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for file, picture in zip(files, pixels, strict=True):
        Image.fromarray(picture).save(folder / variant.name / file.name)
        shutil.copy(file.with_suffix(".txt"), folder / variant.name)
    text = (EXAMPLES / f"{variant.style}.toml").read_text(encoding="utf-8")
    toml = folder / f"{variant.name}.toml"
    toml.write_text(text.replace(f'"{variant.style}"', f'"{variant.name}"'), encoding="utf-8")
    return toml


def score(variant: Variant, images: Tensor, classifier: Classifier) -> float:
    """How well pictures (B, 3, 128, 128) in [-1, 1] of several scenes show a variant, 0..1."""
    found = classifier.read(variant.undo(images)).style[:, STYLE_NAMES.index(variant.style)].mean().item()
    rivals = [rival for rival in TWENTY if rival.style == variant.style]
    originals = examples(variant.style)[1]
    centers = torch.stack([rival.change(originals).mean(dim=(0, 2, 3)) for rival in rivals])
    nearest = torch.cdist(images.mean(dim=(0, 2, 3))[None], centers).argmin().item()
    return found if rivals[int(nearest)] == variant else 0.0
