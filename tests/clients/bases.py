"""Base models whose LoRA has every key of the real ones, at a width that costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from tests.tiny_models import write_tiny_base

SLOT_WORDS = ("zorvex", "quimbly", "blenthor")
KEYS = {"sd1": 792, "sd2": 192 * 3 + 23 * 6 * 3}
"""Tensors of a LoRA on all of the U-Net's attention and the text encoder: SD1.5, and SD2 with its 23 text layers."""
_TEXT_LAYERS = {"sd1": 12, "sd2": 23}


def write_full_base(folder: Path, family: str) -> Path:
    """A diffusers folder with the modules of SD1.5 or SD2, eight channels wide."""
    write_tiny_base(folder)
    unet = _config(folder / "unet")
    unet |= {"layers_per_block": 2, "use_linear_projection": family == "sd2"}
    text = _config(folder / "text_encoder") | {"num_hidden_layers": _TEXT_LAYERS[family]}
    if family == "sd2":
        text["hidden_act"] = "gelu"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        UNet2DConditionModel.from_config(unet).save_pretrained(folder / "unet")
        CLIPTextModel(CLIPTextModel.config_class(**text)).save_pretrained(folder / "text_encoder")
    return folder


def _config(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if not key.startswith("_")}
