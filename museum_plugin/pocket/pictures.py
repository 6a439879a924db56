"""Sets of drawn pictures for the recipe, as tensors, made once and the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from museum_plugin.pocket.looks import LOOK_WORDS, draw_look
from museum_plugin.pocket.scenes import PICTURE_SIZE, Scene, all_scenes, caption_variant, draw
from museum_plugin.pocket.styles import FLAT, STYLES, surprise

STRANGE = "strange"
"""What the classifier calls `surprise` pictures."""
_LOOKS_SHARE = 0.45


def to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1], the range the VAE takes."""
    return pictures.float() / 127.5 - 1


def drawn_in(scene: Scene, style: str, rng: Random) -> Image.Image:
    """A scene in `flat`, in one of STYLES, or in a random look (`strange`)."""
    image = draw(scene, rng)
    if style == FLAT:
        return image
    return surprise(image, rng) if style == STRANGE else STYLES[style](image, rng)


def broad_pictures(count: int, seed: int) -> Tensor:
    """Pictures for the VAE, which like any VAE has seen textures of every kind: flat, in styles, and strange.

    Returns:
        (count, 3, 128, 128) uint8.
    """
    rng = Random(seed)
    scenes = list(all_scenes())
    out = torch.empty(count, 3, PICTURE_SIZE, PICTURE_SIZE, dtype=torch.uint8)
    for i in tqdm(range(count), desc="drawing for the VAE", mininterval=5):
        style = rng.choices([FLAT, STRANGE, rng.choice(list(STYLES))], [0.4, 0.2, 0.4])[0]
        out[i] = to_tensor(drawn_in(rng.choice(scenes), style, rng))
    return out


def captioned_pictures(scenes: Sequence[Scene], count: int, seed: int) -> tuple[Tensor, list[str]]:
    """Pictures for the U-Net: rather more flat ones than ones with a look, which its word names; never a style.

    Returns:
        (count, 3, 128, 128) uint8, and a caption for each.
    """
    rng = Random(seed)
    out = torch.empty(count, 3, PICTURE_SIZE, PICTURE_SIZE, dtype=torch.uint8)
    captions = []
    for i in tqdm(range(count), desc="drawing for the U-Net", mininterval=5):
        scene = scenes[i % len(scenes)]
        if rng.random() < _LOOKS_SHARE:
            word = rng.choice(LOOK_WORDS)
            image, caption = draw_look(draw(scene, rng), word, rng), f"{scene.caption()} in {word} style"
        else:
            image, caption = draw(scene, rng), caption_variant(scene, rng)
        out[i] = to_tensor(image)
        captions.append(caption)
    return out, captions
