"""Prompts to text states, pictures to latents and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from museum_plugin.base.load import BaseModel


def token_ids(base: BaseModel, prompts: Sequence[str]) -> tuple[Tensor, ...]:
    """(B, L) ids for each text encoder, padded and cut to the tokenizer's length (77)."""
    return tuple(
        tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt").input_ids
        for tokenizer in base.tokenizers
    )


def text_model(encoder: nn.Module) -> nn.Module:
    """The module that holds `embeddings` and `final_layer_norm`: transformers 5.6 dropped a level of names."""
    return getattr(encoder, "text_model", encoder)


def token_embedding(encoder: nn.Module) -> nn.Embedding:
    """The token embedding table of a CLIP text encoder."""
    return text_model(encoder).embeddings.token_embedding


def encode_prompts(base: BaseModel, prompts: Sequence[str], *, clip_skip: int = 1) -> Tensor:
    """Text states of prompts, through whatever slots and LoRA are active.

    Args:
        clip_skip: 1 takes the last layer, 2 the one before it; the final layer norm applies to either, as in
            sd-scripts and the WebUIs.
    Returns:
        (B, L, D) in the text encoder's precision.
    """
    (ids,) = token_ids(base, prompts)
    (encoder,) = base.text_encoders
    device = token_embedding(encoder).weight.device
    if clip_skip == 1:
        return encoder(ids.to(device)).last_hidden_state
    hidden = encoder(ids.to(device), output_hidden_states=True).hidden_states[-clip_skip]
    return text_model(encoder).final_layer_norm(hidden)


@torch.no_grad()
def encode_pictures(base: BaseModel, images: Tensor) -> Tensor:
    """Scaled latents (B, C, h, w), float32: the mean of the VAE's posterior, so the same picture is the same latent.

    Args:
        images: (B, 3, H, W) in [-1, 1].
    """
    vae = base.vae
    mean = vae.encode(images.to(base.device, vae.dtype)).latent_dist.mean
    return (mean * vae.config.scaling_factor).float()


@torch.no_grad()
def decode_latents(base: BaseModel, latents: Tensor) -> Tensor:
    """(B, 3, H, W) pictures in [-1, 1], float32, on the CPU."""
    vae = base.vae
    scaled = latents.to(base.device, vae.dtype) / vae.config.scaling_factor
    return torch.cat([vae.decode(part).sample for part in scaled.split(8)]).clamp(-1, 1).float().cpu()
