"""A base model of SD1's shape with random weights, small enough to build in a test."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from museum_plugin.pocket.vocabulary import build_tokenizer

TINY_SLOT_WORDS = ("zorvex", "quimbly", "blenthor")
"""Words that the tiny base's tokenizer knows as one token each, for triggers."""
_TEXT_WIDTH = 16


def write_tiny_base(folder: Path, *, prediction_type: str = "epsilon", seed: int = 0, layers: int = 1) -> Path:
    """Write a diffusers folder of SD1's topology, a few thousand numbers large: 64 px pictures, 8x8 latents.

    Args:
        folder: created with its parents.
        prediction_type: epsilon | v_prediction.
        seed: decides every weight; the global random state is left as it was.
        layers: ResNets of a level of the U-Net; real ones have 2.
    Returns:
        folder, which `museum_plugin.base.load.load_base` loads.
    """
    tokenizer = build_tokenizer(TINY_SLOT_WORDS, folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16, 16, 16),
            norm_num_groups=4,
            layers_per_block=layers,
            cross_attention_dim=_TEXT_WIDTH,
            attention_head_dim=2,
        )
        vae = AutoencoderKL(
            block_out_channels=(4, 4, 4, 4),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=64,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=_TEXT_WIDTH,
                intermediate_size=2 * _TEXT_WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=tokenizer.model_max_length,
                projection_dim=_TEXT_WIDTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "scheduler": scheduler}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    write_model_index(folder)
    return folder


def write_model_index(folder: Path) -> None:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
