"""Base models of SDXL's shape with random weights, small enough to build in a test; as a folder and as one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from museum_plugin.pocket.vocabulary import build_tokenizer
from tests.original_layout import Tensors, open_clip_tensors, original_vae, unet_name
from tests.tiny_models import TINY_SLOT_WORDS

MODEL_INDEX = json.dumps(
    {
        "_class_name": "StableDiffusionXLPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "force_zeros_for_empty_prompt": False,
    }
)

TINY = {"widths": (8, 16, 16), "heads": (1, 2, 2), "groups": 4, "time": 4, "texts": (8, 12), "pooled": 10, "vae": 4}
"""Sizes of a model that is quick to teach."""
TRUE = {
    "widths": (64, 64, 128), "heads": (1, 1, 2), "groups": 32, "time": 256, "texts": (64, 64), "pooled": 48, "vae": 32,
}  # fmt: skip
"""With SDXL's heads, groups and size embedding, which no checkpoint tells."""


def write_tiny_sdxl(
    folder: Path, sizes: dict[str, Any] | None = None, *, prediction_type: str = "epsilon", seed: int = 0
) -> Path:
    """Write a diffusers folder of SDXL's topology in fp16 values: three levels, the first without attention.

    Args:
        sizes: TINY or TRUE.
        prediction_type: epsilon | v_prediction.
        seed: decides every weight; the global random state is left as it was.
    Returns:
        folder, which `museum_plugin.base.load.load_base` loads.
    """
    own = sizes or TINY
    tokenizer = build_tokenizer(TINY_SLOT_WORDS, folder / "tokenizer")
    build_tokenizer(TINY_SLOT_WORDS, folder / "tokenizer_2")
    padded = CLIPTokenizer.from_pretrained(folder / "tokenizer_2", pad_token="!")
    padded.save_pretrained(folder / "tokenizer_2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {"unet": _unet(own), "vae": _vae(own["vae"])}
        first, second = (
            _text_config(width, tokenizer, hidden_act=act, projection_dim=own["pooled"])
            for width, act in zip(own["texts"], ("quick_gelu", "gelu"), strict=True)
        )
        parts["text_encoder"] = CLIPTextModel(first)
        parts["text_encoder_2"] = CLIPTextModelWithProjection(second)
    parts = {name: part.half().float() for name, part in parts.items()}
    parts["scheduler"] = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type=prediction_type,
    )  # fmt: skip
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(MODEL_INDEX, encoding="utf-8")
    return folder


def sdxl_tensors(folder: Path) -> Tensors:
    """All tensors of a diffusers folder of SDXL under their original names."""
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    first, second = (load_file(folder / name / "model.safetensors") for name in ("text_encoder", "text_encoder_2"))
    found = {f"model.diffusion_model.{unet_name(name, 2, unet)}": tensor for name, tensor in unet.items()}
    found |= {f"first_stage_model.{name}": tensor for name, tensor in original_vae(folder / "vae").items()}
    prefix = "conditioner.embedders.0.transformer.text_model."
    found |= {prefix + name.removeprefix("text_model."): tensor for name, tensor in first.items()}
    return found | open_clip_tensors(second, "conditioner.embedders.1.model.", unused=0)


def _unet(own: dict[str, Any]) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=own["widths"],
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        norm_num_groups=own["groups"],
        cross_attention_dim=sum(own["texts"]),
        attention_head_dim=own["heads"],
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=own["time"],
        projection_class_embeddings_input_dim=own["pooled"] + 6 * own["time"],
    )


def _vae(width: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(width,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=min(width, 32),
        sample_size=64,
        scaling_factor=0.13025,
    )


def _text_config(width: int, tokenizer: CLIPTokenizer, **more: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **more,
    )
