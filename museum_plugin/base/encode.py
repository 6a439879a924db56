"""Prompts to text states, pictures to latents and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from museum_plugin.base.emphasis import emphasize, weighted_tokens
from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.base.vae_memory import DECODING, ENCODING, free_memory, pictures_at_once, tiled

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

_DECODED_AT_ONCE = 8


def text_model(encoder: nn.Module) -> nn.Module:
    """The module that holds `embeddings` and `final_layer_norm`: transformers 5.6 dropped a level of names."""
    return getattr(encoder, "text_model", encoder)


def token_embedding(encoder: nn.Module) -> nn.Embedding:
    """The token embedding table of a CLIP text encoder."""
    return text_model(encoder).embeddings.token_embedding


def encode_prompts(base: BaseModel, prompts: Sequence[str], text: TextEncoding | None = None) -> TextStates:
    """Text states of prompts, through whatever slots and LoRA are active.

    A long prompt is read in chunks of 75 tokens, each with its own start and end; their states stand one after another,
    with the start of the first and the end of the last. The final layer norm applies whatever layer is taken, as in
    sd-scripts and the WebUIs. SDXL: the states of both encoders side by side, of the last layer but one, without that
    norm; and the second one's projected end of the first chunk. Source: sd-scripts.

    Returns:
        of B prompts in the text encoder's precision; L = max_token_length + 2.
    """
    text = text or TextEncoding()
    readers = zip(base.tokenizers, base.text_encoders, strict=True)
    parts = [_read(*reader, prompts, text, penultimate=base.family.penultimate) for reader in readers]
    if len(parts) == 1:
        return parts[0]
    return TextStates(torch.cat([part.states for part in parts], dim=2), parts[-1].pooled)


def _read(
    tokenizer: CLIPTokenizer, encoder: nn.Module, prompts: Sequence[str], text: TextEncoding, *, penultimate: bool
) -> TextStates:
    """What one text encoder makes of the prompts."""
    ids, weights = token_ids(tokenizer, prompts, text)
    chunks = split_chunks(ids, tokenizer).to(token_embedding(encoder).weight.device)
    rows, pooled = chunks.flatten(0, 1), None
    if penultimate:
        found = encoder(rows, output_hidden_states=True)
        hidden = found.hidden_states[-2]
        if hasattr(encoder, "text_projection"):
            first = found.last_hidden_state.unflatten(0, chunks.shape[:2])[:, 0]
            pooled = pooled_text(encoder, first, chunks[:, 0], tokenizer.eos_token_id)
    else:
        hidden = _states(encoder, rows, text.clip_skip)
    states = join_chunks(hidden, len(prompts))
    return TextStates(states if weights is None else emphasize(states, weights), pooled)


def pooled_text(encoder: nn.Module, states: Tensor, ids: Tensor, end: int) -> Tensor:
    """The projected state at the first end token of each prompt, (B, P).

    Source: sd-scripts; the library's own takes the highest id, which an added word may have.

    Args:
        states: (B, 77, D) of the last layer, after the final norm.
        ids: (B, 77).
    """
    places = (ids == end).int().argmax(dim=1)
    ends = states[torch.arange(len(states), device=states.device), places]
    pooled: Tensor = encoder.text_projection(ends.to(encoder.text_projection.weight.dtype))
    return pooled.to(states)  # a trainer's autocast may give states of another type than the weights


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], text: TextEncoding) -> tuple[Tensor, Tensor | None]:
    """Ids (B, max_token_length + 2) of prompts, padded and cut, and the weight of each token if weights are read."""
    if text.weighted:
        return weighted_tokens(tokenizer, prompts, text.max_token_length)
    length = text.max_token_length + 2
    ids = tokenizer(list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return ids.input_ids, None


def split_chunks(ids: Tensor, tokenizer: CLIPTokenizer) -> Tensor:
    """Ids (B, N * 75 + 2) -> (B, N, 77): every chunk begins with the start token and ends as a prompt of its own would.

    Where padding is not the end token (SD2), a full chunk gets an end, and one that is all padding begins with it.
    Source: sd-scripts.
    """
    inner = tokenizer.model_max_length - 2
    middle = ids[:, 1:-1].unflatten(1, (-1, inner))
    first, last = (edge[:, None].expand(-1, middle.shape[1], 1) for edge in (ids[:, :1], ids[:, -1:]))
    chunks = torch.cat([first, middle, last], dim=2)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if middle.shape[1] > 1 and pad != end:
        open_end = (chunks[..., -2] != end) & (chunks[..., -2] != pad)
        chunks[..., -1] = chunks[..., -1].masked_fill(open_end, end)
        chunks[..., 1] = chunks[..., 1].masked_fill(chunks[..., 1] == pad, end)
    return chunks


def join_chunks(states: Tensor, batch: int) -> Tensor:
    """States of chunks (B * N, 77, D) -> (B, N * 75 + 2, D): one start, all that stands between, one end."""
    states = states.unflatten(0, (batch, -1))
    if states.shape[1] == 1:
        return states[:, 0]
    return torch.cat([states[:, 0, :1], states[:, :, 1:-1].flatten(1, 2), states[:, -1, -1:]], dim=1)


def _states(encoder: nn.Module, ids: Tensor, clip_skip: int) -> Tensor:
    if clip_skip == 1:
        return encoder(ids).last_hidden_state
    hidden = encoder(ids, output_hidden_states=True).hidden_states[-clip_skip]
    return text_model(encoder).final_layer_norm(hidden)


@torch.no_grad()
def encode_pictures(base: BaseModel, images: Tensor) -> Tensor:
    """Scaled latents (B, C, h, w), float32: the mean of the VAE's posterior, so the same picture is the same latent.

    Args:
        images: (B, 3, H, W) in [-1, 1].
    """
    with base.vae_at_hand() as vae:
        count = pictures_at_once(images[0, 0].numel(), ENCODING * _size(vae), free_memory(base.device), len(images))
        with tiled(vae, count == 0):
            parts = [
                vae.encode(part.to(base.device, vae.dtype)).latent_dist.mean for part in images.split(max(1, count))
            ]
        return (torch.cat(parts) * vae.config.scaling_factor).float()


@torch.no_grad()
def decode_latents(base: BaseModel, latents: Tensor) -> Tensor:
    """(B, 3, H, W) pictures in [-1, 1], float32, on the CPU."""
    with base.vae_at_hand() as vae:
        pixels = latents[0, 0].numel() * base.latent_factor**2
        count = pictures_at_once(pixels, DECODING * _size(vae), free_memory(base.device), _DECODED_AT_ONCE)
        scaled = latents.to(base.device, vae.dtype) / vae.config.scaling_factor
        with tiled(vae, count == 0):
            parts = [vae.decode(part).sample.clamp(-1, 1).float().cpu() for part in scaled.split(max(1, count))]
    return torch.cat(parts)


def _size(vae: AutoencoderKL) -> int:
    """Bytes of a number."""
    return torch.finfo(vae.dtype).bits // 8
