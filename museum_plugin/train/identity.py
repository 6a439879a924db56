"""What a run is: whatever must be the same for an unfinished style to go on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from museum_plugin.config.flags import FLAGS
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.museum.museum import Museum
from museum_plugin.train.checkpoint import DIGESTS

_NO_PART_OF_THE_RESULT = {
    "pretrained_model_name_or_path",
    "conditioning_data_dir",
    "network_weights",
    "base_weights",
    "blocks_to_swap",
    "cpu_offload_checkpointing",
    "cache_latents",
    "cache_latents_to_disk",
    "fit",
    "gradient_checkpointing",
    "replay_apart",
    "max_data_loader_n_workers",
    "skip_nonfinite",
    "validate_every_n_steps",
    "validate_every_n_epochs",
    "max_validation_steps",
    *(flag.name for flag in FLAGS if flag.section in ("preview", "output", "gate", "log", "metadata")),
}
"""Flags that may differ when a run goes on: where things lie (their content is compared), and what is written."""


def identity_of(settings: dict[str, Any], dataset: StyleDataset, museum: Museum) -> dict[str, Any]:
    """Flag names and `DIGESTS` -> values, all as JSON gives them back.

    Args:
        settings: the flags of the run.
        museum: before the style.
    """
    digests = (dataset.fingerprint, museum_digest(museum), museum.base.fingerprint)
    return {**settings_identity(settings), **dict(zip(DIGESTS, digests, strict=True))}


def museum_digest(museum: Museum) -> str:
    """sha256, in hex, of every number and trigger of a museum."""
    digest = hashlib.sha256()
    for key, tensor in sorted(museum.network.tensors().items()):
        digest.update(key.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    for slot in museum.slots.slots.values():
        digest.update(slot.phrase.encode())
        for vectors in slot.vectors:
            digest.update(vectors.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def settings_identity(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of an identity that the flags make."""
    told = {key: value for key, value in settings.items() if key not in _NO_PART_OF_THE_RESULT}
    told = json.loads(json.dumps(told, default=str))
    return dict(told)


def digests_in_words(dataset: StyleDataset, museum: Museum) -> dict[str, str]:
    """What stands behind each of the `DIGESTS`, for a user who has to find the difference."""
    words = (
        pictures_in_words(dataset),
        ", ".join(museum.styles()) or "without a style",
        museum.base.name,
    )
    return dict(zip(DIGESTS, words, strict=True))


def pictures_in_words(dataset: StyleDataset) -> str:
    """How many pictures of which folders."""
    folders = dict.fromkeys(str(picture.subset.image_dir) for picture in dataset.pictures)
    return f"{len(dataset.pictures)} pictures of {', '.join(folders)}"
