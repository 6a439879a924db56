"""Pictures and captions of a dataset that sd-scripts has made. Only attributes that its own loops use are read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from museum_plugin.data.buckets import Placement, Size, resize_and_crop
from museum_plugin.data.captions import content_of, contents_of, with_trigger
from museum_plugin.data.images import open_picture, picture_digest, to_tensor


@dataclass(frozen=True)
class GuestPicture:
    """One picture of sd-scripts' dataset."""

    info: Any
    """sd-scripts' record of it."""
    subset: Any
    dataset: Any

    @property
    def path(self) -> Path:
        return Path(self.info.absolute_path)

    @property
    def bucket(self) -> Size:
        """(width, height) that is trained."""
        width, height = self.info.bucket_reso
        return int(width), int(height)

    def latent(self, encode: Callable[[Tensor], Tensor], factor: float) -> Tensor:
        """(C, h, w) scaled, float32: the cached one, else of the picture, cropped at its centre.

        Args:
            encode: (1, 3, H, W) in [-1, 1] -> scaled latents.
            factor: of the scaling; cached latents are not scaled.
        Raises:
            DataError: the picture cannot be read.
        """
        info = self.info
        if info.latents is not None:
            return torch.as_tensor(info.latents).float().cpu() * factor
        if info.latents_npz is not None:
            strategy = self.dataset.latents_caching_strategy
            return torch.as_tensor(strategy.load_latents_from_disk(info.latents_npz, self.bucket)[0]).float() * factor
        image = open_picture(self.path)
        width, height = self.bucket
        scale = max(width / image.width, height / image.height)
        resized = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        placement = Placement(self.bucket, resized, (resized[0] - width) // 2, (resized[1] - height) // 2)
        return encode(to_tensor(resize_and_crop(image, placement, flip=False))[None])[0].cpu()


@dataclass(frozen=True)
class GuestPictures:
    """The pictures of a style, without those of regularisation."""

    pictures: tuple[GuestPicture, ...]
    reg_images: int = 0
    """Pictures of regularisation in an epoch, repeats counted."""
    batches_per_epoch: int = 0

    @classmethod
    def of(cls, datasets: Iterable[Any]) -> GuestPictures:
        """Those of all training datasets, in sd-scripts' order."""
        training = [dataset for dataset in datasets if getattr(dataset, "is_training_dataset", True)]
        return cls(
            tuple(picture for dataset in training for picture in _pictures(dataset)),
            sum(info.num_repeats for dataset in training for info in dataset.image_data.values() if info.is_reg),
            sum(map(len, training)),
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Width x height -> pictures of an epoch that are learned so, repeats counted."""
        found = Counter[str]()
        for picture in self.pictures:
            width, height = picture.bucket
            found[f"{width}x{height}"] += picture.info.num_repeats
        return dict(found)

    def contents(self, trigger: str) -> tuple[str, ...]:
        """What they show, without the trigger; see `contents_of`."""
        return contents_of(((picture.info.caption or "", picture.subset) for picture in self.pictures), trigger)

    def each_content(self, trigger: str) -> list[str]:
        """What each of them shows, without the trigger."""
        return [content_of(picture.info.caption or "", picture.subset, trigger) for picture in self.pictures]

    @cached_property
    def fingerprint(self) -> str:
        """sha256, in hex, of picture bytes and captions.

        Raises:
            DataError: a picture can no longer be read.
        """
        rows = sorted((picture_digest(picture.path), picture.info.caption or "") for picture in self.pictures)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def forget_text_outputs(dataset: Any) -> bool:
    """Let every caption be read in each step, although what the text encoders make of it was cached.

    A slot is learned through the text encoders, and cached outputs know no trigger. Files on disk stay as they are.

    Returns:
        whether there were any.
    """
    found = getattr(dataset, "text_encoder_output_caching_strategy", None) is not None
    if found:
        dataset.text_encoder_output_caching_strategy = None
        for info in dataset.image_data.values():
            info.text_encoder_outputs = info.text_encoder_outputs_npz = None
    return found


def put_trigger(dataset: Any, phrase: str) -> None:
    """From now on the style's phrase goes into every caption of a dataset, after all that varies it.

    Not into one that was dropped, nor into those of regularisation pictures; a picture without caption learns with
    the phrase alone. The dataset can still be sent to another process.
    """
    dataset.process_caption = partial(_caption_with, dataset, phrase)


def _caption_with(dataset: Any, phrase: str, subset: Any, caption: str) -> str:
    shown = str(type(dataset).process_caption(dataset, subset, caption))
    if getattr(subset, "is_reg", False) or (caption and not shown):
        return shown
    return with_trigger(shown, phrase)


def _pictures(dataset: Any) -> Iterator[GuestPicture]:
    for key, info in dataset.image_data.items():
        if not info.is_reg:
            yield GuestPicture(info, dataset.image_to_subset[key], dataset)
