"""A base model by its name on the Hugging Face hub: out of the cache on this disk, else from the hub itself."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from museum_plugin.base.folder import check_folder
from museum_plugin.errors import BaseModelError

log = logging.getLogger("museum")
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_WEIGHTS = (".safetensors", ".bin")
_WANTED = [
    "model_index.json", "scheduler/*.json", "tokenizer*/*",
    "text_encoder*/*.json", "text_encoder*/model*.safetensors",
    "unet/*.json", "unet/diffusion_pytorch_model*.safetensors",
    "vae/*.json", "vae/diffusion_pytorch_model*.safetensors",
]  # fmt: skip
_UNWANTED = ["*.fp16.*", "*non_ema*"]
"""Other forms of the same weights."""


def is_hub_name(path: Path) -> bool:
    """Whether a base is named as on the hub, `owner/name`, and nothing on this disk has that path."""
    text = path.as_posix()
    return _NAME.fullmatch(text) is not None and path.suffix.lower() not in _FILES and not path.exists()


def found_base(path: Path) -> Path:
    """Where a base lies on this disk: the path itself, or of a name on the hub the folder in the hub's cache.

    What is not whole in the cache is fetched, unless HF_HUB_OFFLINE is set.

    Raises:
        BaseModelError: a name on the hub, and neither the cache nor the hub has a whole model.
    """
    if not is_hub_name(path):
        return path
    cached = cached_base(path)
    if cached is not None:
        return cached
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise _nowhere(path, constants.HF_HUB_CACHE, "HF_HUB_OFFLINE is set, so the hub was not asked")
    log.info("%s: not in %s; it is fetched from the hub", path.as_posix(), constants.HF_HUB_CACHE)
    try:
        snapshot_download(path.as_posix(), allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
    except Exception as error:  # the library raises those of its network code, too
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _nowhere(path, constants.HF_HUB_CACHE, f"the hub did not give it ({reason})") from error
    fetched = cached_base(path)
    if fetched is None:  # without a network the library is content with whatever there is
        raise _nowhere(path, constants.HF_HUB_CACHE, "the hub did not give what is missing")
    return fetched


def cached_base(path: Path) -> Path | None:
    """The folder that the hub's cache has of a name, if a whole model is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(path.as_posix(), local_files_only=True))
        family = check_folder(folder)
    except (LocalEntryNotFoundError, HFValidationError, BaseModelError):
        return None
    parts = ("unet", "vae", *family.text_folders)
    return folder if all(_has_weights(folder / part) for part in parts) else None


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in _WEIGHTS and file.exists() for file in folder.iterdir())


def _nowhere(path: Path, cache: str, why: str) -> BaseModelError:
    return BaseModelError(
        f"{path}: no base model there, none whole in the hub's cache ({cache}), and {why}; "
        "pretrained_model_name_or_path takes a checkpoint, a diffusers folder or a name on the hub"
    )
