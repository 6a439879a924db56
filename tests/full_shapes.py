"""The networks of the real base models without their numbers: full size, on torch's meta device."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from museum_plugin.base.family import FAMILIES
from museum_plugin.base.load import BaseModel

_SDXL = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
_UNETS = {
    "sd1": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True},
    "sdxl": _SDXL,
}  # fmt: skip
_FIRST, _SECOND = (CLIPTextModel, 768, 12), (CLIPTextModelWithProjection, 1280, 32)
_TEXTS = {"sd1": (_FIRST,), "sd2": ((CLIPTextModel, 1024, 23),), "sdxl": (_FIRST, _SECOND)}


def full_shape(family: str) -> BaseModel:
    """What names, shapes and hooks need of a base: its networks and its family."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**_UNETS[family])
        encoders = tuple(
            make(CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
                                num_attention_heads=width // 64, projection_dim=width))
            for make, width, layers in _TEXTS[family]
        )  # fmt: skip
    return SimpleNamespace(unet=unet, text_encoders=encoders, family=FAMILIES[family])  # type: ignore[return-value]
