"""Load a base model from disk, frozen, and know it again by its fingerprint.

The libraries of the networks take seconds to load, so they are loaded with the first model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from museum_plugin.base.expectation import asked_prediction_type
from museum_plugin.base.family import SD2, Family
from museum_plugin.base.folder import NOT_KEPT, check_folder, folder_tokenizers, loading_error
from museum_plugin.base.hub import found_base
from museum_plugin.base.light_import import import_diffusers
from museum_plugin.base.other_vae import read_vae
from museum_plugin.base.single_file import BaseParts, read_single_file
from museum_plugin.base.text_encoders import TEXT_LEVEL, check_widths, encoder_class
from museum_plugin.config.schema import BaseConfig

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTokenizer

_SAMPLED_VALUES = 64
_SD2_BASE_SIZE = 64
"""Latent positions of a side of SD2-base, the one SD2 that predicts epsilon; the others have 96."""


@dataclass(frozen=True)
class BaseModel:
    """A frozen text-to-image model. Every parameter has `requires_grad` off."""

    name: str
    family: Family
    prediction_type: str
    """epsilon | v_prediction."""
    fingerprint: str
    """The same for the same weights, whatever file or precision they came in."""
    vae_fingerprint: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[nn.Module, ...]
    tokenizers: tuple[CLIPTokenizer, ...]
    alphas_cumprod: Tensor
    """(T,) float32: alpha_bar of the training noise schedule."""
    exact_words: tuple[Tensor, ...] = ()
    """(V, d) float32 for each text encoder: its token embeddings as they were loaded; () where they are not rounded."""

    @property
    def device(self) -> torch.device:
        """Where the U-Net is."""
        return next(self.unet.parameters()).device

    @property
    def latent_factor(self) -> int:
        """Pixels of a picture for each position of its latent, in one direction."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @contextmanager
    def vae_at_hand(self) -> Iterator[AutoencoderKL]:
        """While inside, the VAE is where the U-Net is; then it is put back where it was."""
        before = next(self.vae.parameters()).device
        away = before != self.device
        if away:
            self.vae.to(self.device)
        try:
            yield self.vae
        finally:
            if away:
                self.vae.to(before)

    def put_vae_away(self) -> None:
        """Leave the card to what every step needs; `vae_at_hand` brings it back for as long as it takes."""
        self.vae.to("cpu")

    def bring_text_encoders(self) -> None:
        """Put text encoders where the U-Net is, in its precision; trainers put them away after caching outputs."""
        for encoder in self.text_encoders:
            if next(encoder.parameters()).device != self.device:
                encoder.to(self.device, self.unet.dtype)

    def to(self, device: torch.device, dtype: torch.dtype) -> BaseModel:
        """Move all networks; the VAE keeps float32, which costs little and never overflows.

        Returns:
            the same base; where this rounds its text encoders it still has their exact token embeddings, which export
            needs.
        """
        words = [encoder.get_input_embeddings().weight.detach() for encoder in self.text_encoders]
        rounds = dtype != torch.float32 and all(table.dtype == torch.float32 for table in words)
        for module in (self.unet, *self.text_encoders):
            nn.Module.to(module, device, dtype)  # diffusers' own warns of layers to be kept, though there are none
        nn.Module.to(self.vae, device, torch.float32)
        return replace(self, exact_words=tuple(words)) if rounds else self


def weights_fingerprint(modules: Iterable[nn.Module]) -> str:
    """sha256 (hex) of names, shapes and 64 evenly spread half-precision values of each tensor. Source: ours.

    Reading a whole checkpoint would cost seconds at every start. Rounding to half precision makes the fp16 and fp32
    files of one model equal.
    """
    return tensors_fingerprint(module.state_dict() for module in modules)


def tensors_fingerprint(parts: Iterable[Mapping[str, Tensor]]) -> str:
    """`weights_fingerprint` of tensors by name, whatever version of transformers named those of a text encoder."""
    digest = hashlib.sha256()
    for part in parts:
        tensors = {name.removeprefix(TEXT_LEVEL): tensor for name, tensor in part.items()}
        for name, tensor in sorted(tensors.items()):
            if not name.endswith(NOT_KEPT):
                digest.update(tensor_sample(name, tensor))
    return digest.hexdigest()


def tensor_sample(name: str, tensor: Tensor) -> bytes:
    """What a fingerprint takes of one tensor."""
    flat = tensor.detach().flatten()
    count = min(_SAMPLED_VALUES, len(flat))
    places = torch.arange(count) * (len(flat) - 1) // max(1, count - 1)  # whole numbers: float32 is too short
    return f"{name}{tuple(tensor.shape)}".encode() + flat[places].half().cpu().numpy().tobytes()


def load_base(path: Path, asked: BaseConfig | None = None) -> BaseModel:
    """Load a diffusers folder, or a checkpoint file in the original layout, in float32.

    Args:
        path: of either, or a name on the hub.
        asked: what is expected of the model (v2, v_parameterization), another VAE, where tokenizers are.
    Raises:
        BaseModelError: missing, incomplete, damaged, of an unsupported family, or not what is expected.
    """
    asked, name = asked or BaseConfig(path), path.resolve().name
    path = found_base(path)
    parts = read_single_file(path, asked.tokenizer_cache_dir) if path.is_file() else _read_folder(path)
    unet, texts = parts.unet, parts.text_encoders
    check_widths(path, unet.config, [text.config.to_dict() for text in texts])
    prediction_type = asked_prediction_type(
        parts.family, parts.scheduler.config.prediction_type, parts.told_prediction, asked
    )
    if path.is_file() and parts.family is SD2 and prediction_type == "epsilon":
        unet.register_to_config(sample_size=_SD2_BASE_SIZE)
    vae = read_vae(asked.vae, parts.vae, parts.family) if asked.vae else parts.vae
    for module in (unet, vae, *texts):
        module.requires_grad_(False).eval()
    return BaseModel(
        name=name,
        family=parts.family,
        prediction_type=prediction_type,
        fingerprint=weights_fingerprint((unet, *texts)),
        vae_fingerprint=weights_fingerprint((vae,)),
        unet=unet,
        vae=vae,
        text_encoders=texts,
        tokenizers=parts.tokenizers,
        alphas_cumprod=parts.scheduler.alphas_cumprod.float(),
    )


def _read_folder(path: Path) -> BaseParts:
    family = check_folder(path)
    tokenizers = folder_tokenizers(path, family)
    import_diffusers()
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    try:
        scheduler = DDIMScheduler.from_pretrained(path / "scheduler")
        unet = UNet2DConditionModel.from_pretrained(path / "unet", torch_dtype=torch.float32)
        vae = AutoencoderKL.from_pretrained(path / "vae", torch_dtype=torch.float32)
        texts = tuple(
            encoder_class(i).from_pretrained(path / folder, dtype=torch.float32)
            for i, folder in enumerate(family.text_folders)
        )
    except Exception as error:
        raise loading_error(path, error) from error
    return BaseParts(family, unet, vae, texts, tokenizers, scheduler)
