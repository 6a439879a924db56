"""Draw with the pocket model and read the pictures with its classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from museum_plugin.base.encode import decode_latents
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan, sample_latents
from museum_plugin.pocket.classifier import COLOR_NAMES, STYLE_NAMES, Classifier, Reading
from museum_plugin.pocket.scenes import OBJECTS, Scene

PLAN = SamplingPlan(width=128, height=128, steps=20, guidance=2.0)


@dataclass(frozen=True)
class Shown:
    """Pictures of scenes and what the classifier reads in them."""

    scenes: tuple[Scene, ...]
    images: Tensor
    """(N, 3, 128, 128) in [-1, 1]."""
    reading: Reading

    def object_rate(self) -> float:
        """Share of pictures whose object is recognised."""
        right = torch.tensor([OBJECTS.index(scene.object) for scene in self.scenes])
        return (self.reading.object.argmax(dim=1) == right).float().mean().item()

    def color_rate(self) -> float:
        """Share of pictures whose color is recognised."""
        right = torch.tensor([COLOR_NAMES.index(scene.color) for scene in self.scenes])
        return (self.reading.color.argmax(dim=1) == right).float().mean().item()

    def style_score(self, style: str) -> float:
        """Mean probability of a style."""
        return self.reading.style[:, STYLE_NAMES.index(style)].mean().item()

    def style_rate(self, style: str) -> float:
        """Share of pictures that are judged as a style."""
        return (self.reading.style.argmax(dim=1) == STYLE_NAMES.index(style)).float().mean().item()


def show(
    base: BaseModel,
    classifier: Classifier,
    scenes: list[Scene],
    phrase: str,
    *,
    seed: int,
    plan: SamplingPlan = PLAN,
) -> Shown:
    """Draw scenes, each with its own seed, with a trigger phrase ("" for none), through whatever is attached."""
    parts = []
    for at in range(0, len(scenes), 25):
        some = scenes[at : at + 25]
        prompts = [f"{scene.caption()} in {phrase} style" if phrase else scene.caption() for scene in some]
        seeds = [seed + at + i for i in range(len(some))]
        parts.append(decode_latents(base, sample_latents(base, prompts, seeds, plan)))
    images = torch.cat(parts)
    return Shown(tuple(scenes), images, classifier.read(images))
