"""Latents that are encoded once, kept in memory and, if asked, on disk; and the masks that go with them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from museum_plugin.config.files import write_atomically
from museum_plugin.config.schema.data import VARIED
from museum_plugin.data.buckets import Size
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.images import picture_digest
from museum_plugin.data.masks import at_latent_size
from museum_plugin.data.picture import Picture, load_mask, load_picture
from museum_plugin.errors import ConfigError, OutputError, TrainingError

log = logging.getLogger("museum")
_FORMAT = 2
"""Raised when the way from file to pixels changes, so that older latents are not used."""

View = tuple[Picture, bool]
"""A picture, and whether it is mirrored."""


class LatentCache:
    """The latents of pictures, found by content: an edited picture or another size is never stale.

    A key is the sha256 of the picture's bytes, its placement, colour and flip, how it is resized, whether its alpha
    channel is a mask, and the VAE. A file holds one latent and its checksum. Files are written whole or not at all; a
    damaged one is named in a warning and rebuilt. Masks are made anew by every run and kept in memory.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        *,
        vae_fingerprint: str,
        folder: Path | None,
        batch_size: int,
        read_only: bool = False,
    ) -> None:
        """Nothing is encoded yet.

        Args:
            encode: (B, 3, H, W) float32 in [-1, 1] -> (B, C, h, w) on any device, in any float type. Should not draw
                random numbers: whichever result comes first is kept.
            vae_fingerprint: changes when the VAE or what `encode` does with it changes.
            folder: where latents are kept on disk; made if missing; None keeps them in memory only.
            batch_size: pictures in one call of `encode`.
            read_only: take what is in the folder and put nothing there.
        Raises:
            OutputError: the folder cannot be made.
        """
        self.encode = encode
        self.vae_fingerprint = vae_fingerprint
        self.folder = folder
        self.batch_size = batch_size
        self._writes = folder is not None and not read_only
        self._memory: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}
        self._digests: dict[tuple[Path, int, int], str] = {}
        if folder is not None and self._writes:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{folder}: the latent cache cannot be made there ({error.strerror})") from None

    def latents(self, pictures: Sequence[Picture], flipped: Sequence[bool]) -> Tensor:
        """(B, C, h, w) float32 on the CPU: from memory, else from disk, else encoded and stored.

        Args:
            pictures: of one bucket.
            flipped: for each picture, whether it is mirrored.
        Raises:
            DataError: a picture cannot be read.
            TrainingError: the VAE gives values that are not finite.
            OutputError: a latent cannot be written.
        """
        views = list(zip(pictures, flipped, strict=True))
        keys = [self.key(picture, flip) for picture, flip in views]
        self._encode(self._missing(dict(zip(keys, views, strict=True))), lambda count: None)
        return torch.stack([self._memory[key] for key in keys])

    def masks(self, pictures: Sequence[Picture], flipped: Sequence[bool], size: tuple[int, int]) -> Tensor | None:
        """(B, 1, h, w) float32 on the CPU: how much each place of the latents counts, 0..1; None if none is masked.

        Args:
            pictures: of one bucket; one without a mask counts everywhere.
            flipped: for each picture, whether it is mirrored.
            size: (h, w) of the latents.
        Raises:
            DataError: a picture or mask cannot be read, or they do not fit together.
        """
        if not any(picture.is_masked for picture in pictures):
            return None
        return torch.stack([self._mask(*view, size) for view in zip(pictures, flipped, strict=True)])

    def _mask(self, picture: Picture, flip: bool, size: tuple[int, int]) -> Tensor:
        if picture.moves or not picture.is_masked:
            return at_latent_size(load_mask(picture, flip), size)
        key = json.dumps([self.key(picture, flip), picture.mask and self._digest(picture.mask), size])
        if key not in self._masks:
            self._masks[key] = at_latent_size(load_mask(picture, flip), size)
        return self._masks[key]

    def prepare(self, dataset: StyleDataset, progress: Callable[[int, int], None] | None = None) -> None:
        """Encode all that is missing, mirrored too where `flip_aug` is on; every latent is then in memory.

        Args:
            dataset: whose pictures are encoded.
            progress: called with (latents ready, latents in all), first with what was found on disk.
        Raises:
            ConfigError: `random_crop` or `color_aug` is on: such pictures differ in every step.
            DataError, TrainingError, OutputError: see `latents`.
        """
        for picture in dataset.pictures:
            for name in VARIED:
                if getattr(picture.subset, name):
                    raise ConfigError(
                        f"{name}: cannot be used with cache_latents ({picture.subset.image_dir}); turn one of them off"
                    )
        views = [(p, flip) for p in dataset.pictures for flip in ((False, True) if p.subset.flip_aug else (False,))]
        wanted = {self.key(picture, flip): (picture, flip) for picture, flip in views}
        missing = self._missing(wanted)
        ready = len(wanted) - len(missing)

        def advance(count: int) -> None:
            nonlocal ready
            ready += count
            if progress is not None:
                progress(ready, len(wanted))

        advance(0)
        self._encode(missing, advance)

    def key(self, picture: Picture, flip: bool) -> str:
        """What a latent is known by: sha256 in hex.

        Raises:
            DataError: the picture cannot be read.
        """
        shown = dataclasses.asdict(picture.placement)
        color = picture.color and dataclasses.asdict(picture.color)
        subset = picture.subset
        content = [_FORMAT, self._digest(picture.path), shown, color, bool(flip), self.vae_fingerprint]
        content += [subset.resize_interpolation, subset.alpha_mask]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        """Of the file as it is now; hashed again only when its time or size has changed."""
        try:
            stat = path.stat()
        except OSError:
            return picture_digest(path)  # raises the right error
        state = (path, stat.st_mtime_ns, stat.st_size)
        if state not in self._digests:
            self._digests[state] = picture_digest(path)
        return self._digests[state]

    def _missing(self, wanted: dict[str, View]) -> dict[str, View]:
        """What is neither in memory nor on disk; what is on disk comes to memory."""
        missing = {}
        for key, view in wanted.items():
            if key in self._memory:
                continue
            latent = None if self.folder is None else _read(self.folder / f"{key}.safetensors")
            if latent is None:
                missing[key] = view
            else:
                self._memory[key] = latent
        return missing

    def _encode(self, missing: dict[str, View], advance: Callable[[int], None]) -> None:
        """Encode in batches of one size, store each batch as soon as it is there."""
        by_size: dict[Size, list[tuple[str, View]]] = {}
        for key, view in missing.items():
            by_size.setdefault(view[0].placement.bucket, []).append((key, view))
        for entries in by_size.values():
            for start in range(0, len(entries), self.batch_size):
                part = entries[start : start + self.batch_size]
                images = torch.stack([load_picture(picture, flip) for _, (picture, flip) in part])
                with torch.no_grad():
                    latents = self.encode(images).to("cpu", torch.float32)
                for (key, (picture, _)), latent in zip(part, latents, strict=True):
                    self._store(key, picture, latent.clone())
                advance(len(part))

    def _store(self, key: str, picture: Picture, latent: Tensor) -> None:
        if not latent.isfinite().all():
            raise TrainingError(
                f"{picture.path}: the VAE encodes it to values that are not finite; run the VAE in float32 "
                "(no_half_vae) or use another VAE"
            )
        if self.folder is not None and self._writes:
            content = save({"latents": latent}, {"sha256": _checksum(latent)})
            write_atomically(self.folder / f"{key}.safetensors", content)
        self._memory[key] = latent


def _read(path: Path) -> Tensor | None:
    """The latent in a file; None if there is no file, or it is damaged."""
    if not path.exists():
        return None
    with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
        latent = file.get_tensor("latents").clone()
        if (file.metadata() or {}).get("sha256") == _checksum(latent):
            return latent
    log.warning("%s: this cached latent is damaged and is made again", path)
    return None


def _checksum(latent: Tensor) -> str:
    return hashlib.sha256(latent.contiguous().numpy().tobytes()).hexdigest()
