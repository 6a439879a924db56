"""SD1.5 in its full size with random weights, made on the spot: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from museum_plugin.base.clip_tokenizer import clip_vocabulary
from museum_plugin.base.family import SD1
from museum_plugin.base.layout import family_facts
from tests.original_layout import original_vae, unet_name

_TILE = 1_000_003
"""Random numbers that are laid one after another; no side of a tensor divides it."""
_SD_SCRIPTS_NAME = "openai_clip-vit-large-patch14"
"""The folder in which sd-scripts looks for the tokenizer below --tokenizer_cache_dir."""


def sd15_networks() -> dict[str, Any]:
    """The parts of SD1.5 without numbers."""
    facts = family_facts(SD1)
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(**facts["unet"], cross_attention_dim=768, attention_head_dim=8),
            "vae": AutoencoderKL(
                **facts["vae"], block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            ),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(
                    num_attention_heads=12, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                    **facts["text_encoder"],
                )
            ),
        }  # fmt: skip


def random_tensors(network: nn.Module, rng: torch.Generator) -> dict[str, Tensor]:
    """fp16 numbers for every tensor of a network: norms near 1, the rest at the size that keeps activations alike."""
    tile, found = torch.randn(_TILE, generator=rng), dict[str, Tensor]()
    for number, (name, empty) in enumerate(network.state_dict().items()):
        count, shift = empty.numel(), 7919 * number % _TILE
        values = tile.repeat(-(-(count + shift) // _TILE))[shift : shift + count].view(empty.shape)
        if empty.dim() > 1:
            values = values * (0.02 if "embedding" in name else empty[0].numel() ** -0.5)
        else:
            values = values * 0.02 + float(name.endswith("norm.weight") or ("norm" in name and "weight" in name))
        found[name] = values.half()
    return found


def write_sd15(folder: Path) -> Path:
    """One checkpoint in the original layout, fp16, 2 GB, and beside it the tokenizer, where sd-scripts looks for it."""
    rng, found, parts = torch.Generator().manual_seed(0), dict[str, Tensor](), sd15_networks()
    unet = random_tensors(parts["unet"], rng)
    layers = parts["unet"].config.layers_per_block
    found |= {f"model.diffusion_model.{unet_name(name, layers, unet)}": tensor for name, tensor in unet.items()}
    vae = folder / "vae"
    parts["vae"].save_config(vae)
    save_file(random_tensors(parts["vae"], rng), vae / "diffusion_pytorch_model.safetensors")
    found |= {f"first_stage_model.{name}": tensor for name, tensor in original_vae(vae).items()}
    text = random_tensors(parts["text_encoder"], rng)
    prefix = "cond_stage_model.transformer.text_model."
    found |= {prefix + name.removeprefix("text_model."): tensor for name, tensor in text.items()}
    vocabulary, merges = clip_vocabulary()
    tokenizer = folder / _SD_SCRIPTS_NAME
    tokenizer.mkdir(parents=True, exist_ok=True)
    (tokenizer / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tokenizer / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    told = {**ends, "pad_token": "<|endoftext|>", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    file = folder / "sd15.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, file)
    return file


def write_pictures(folder: Path, side: int, count: int = 4) -> None:
    """Small pictures of colored noise with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(0)
    for number in range(count):
        pixels = rng.randbytes(8 * 8 * 3)
        Image.frombytes("RGB", (8, 8), pixels).resize((side, side)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a picture of thing number {number}, in color", encoding="utf-8")
