"""The original layout of Stable Diffusion checkpoints: which model a file holds, and the sizes that its shapes tell.

Sizes that no shape tells (heads, groups of a normalization) are facts of a family: configs/*.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from museum_plugin.base.family import SD1, SD2, SDXL, Family
from museum_plugin.errors import BaseModelError

UNET = "model.diffusion_model."
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
SUPPORTED = "SD1.x, SD2.x and SDXL models can be trained, as one checkpoint file or as a diffusers folder"
_SD2_TEXT_WIDTH = 1024
_OF_SDXL = ("conditioner.embedders.", f"{UNET}label_emb.")
_TEXTS: dict[bool, dict[str, tuple[str, ...]]] = {
    False: {"text encoder": (OPEN_CLIP[0], CLIP[0])},
    True: {"first text encoder": (CLIP[1],), "second text encoder": (OPEN_CLIP[1],)},
}
"""Whether it is SDXL -> text encoders, and how their names begin."""
_KINDS = (
    (r"(^|\.)double_blocks\.\d+\.(img_attn|img_mod)", "a Flux model"),
    (r"(^|\.)(transformer_blocks\.\d+\.norm1_context|joint_blocks\.\d+)", "an SD3 model"),
    (r"^conditioner\.embedders\.0\.model\.", "the refiner of SDXL"),
    (r"^edm_(mean|std)$|^edm_vpred\.", "an SDXL model of the EDM noise schedule"),
    (r"^lora_(unet|te|te1|te2|transformer)_|\.lora_(down|up|A|B)(\.|$)|\.hada_w1_a$", "a LoRA, not a base model"),
    (r"^(control_model\.|controlnet_)", "a ControlNet, not a base model"),
    (r"^(emb_params|string_to_param|clip_[lg]$)", "an embedding, not a base model"),
    (r"^(down_blocks|mid_block)\.|^text_model\.|^(en|de)coder\.(down|up)_blocks\.",
     "one part of a diffusers model; give the folder that holds all parts"),
)  # fmt: skip
"""What a name's form says about a whole file, tried in this order."""


@cache
def family_facts(family: Family) -> dict[str, dict[str, Any]]:
    """What is the same in every model of a family and no shape tells."""
    file = Path(__file__).with_name("configs") / f"{family.name}.json"
    facts: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return facts


def detect_layout(path: Path, tensors: Mapping[str, Tensor]) -> Family:
    """SD1, SD2 or SDXL, from names and shapes.

    Raises:
        BaseModelError: it is something else, or the text encoder or the VAE is missing; says what it seems to be.
    """
    for pattern, kind in _KINDS:
        if any(re.search(pattern, name) for name in tensors):
            raise BaseModelError(f"{path}: this is {kind}; {SUPPORTED}")
    is_sdxl = any(name.startswith(_OF_SDXL) for name in tensors)
    has = {
        "U-Net": f"{UNET}input_blocks.0.0.weight" in tensors,
        **{text: any(name.startswith(start) for name in tensors) for text, start in _TEXTS[is_sdxl].items()},
        "VAE": "first_stage_model.decoder.conv_in.weight" in tensors,
    }
    if not any(has.values()):
        kind = "a VAE alone" if "decoder.conv_in.weight" in tensors else f"no known model (a name: {min(tensors)!r})"
        raise BaseModelError(f"{path}: this is {kind}; {SUPPORTED}")
    missing = [part for part, found in has.items() if not found]
    if missing:
        raise BaseModelError(f"{path}: holds no {' and no '.join(missing)}; a whole model is needed. {SUPPORTED}")
    channels = tensors[f"{UNET}input_blocks.0.0.weight"].shape[1]
    if channels != 4:
        raise channels_error(path, channels)
    if is_sdxl:
        return SDXL
    if any(name.startswith(OPEN_CLIP) for name in tensors):
        return SD2
    embeddings = next((t for name, t in tensors.items() if name.endswith("token_embedding.weight")), None)
    return SD2 if embeddings is not None and embeddings.shape[-1] == _SD2_TEXT_WIDTH else SD1


def channels_error(path: Path, channels: int) -> BaseModelError:
    """What is said of a U-Net that takes more than noisy latents."""
    kind = {9: "an inpainting model", 8: "an editing model", 5: "a depth model"}.get(channels, "another model")
    return BaseModelError(f"{path}: this is {kind}, its U-Net takes {channels} channels, not 4; {SUPPORTED}")


def unet_config(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], heads: Mapping[str, int]) -> dict[str, Any]:
    """diffusers' configuration of a U-Net in the original layout.

    Args:
        tensors: with names that begin with `model.diffusion_model.`.
        facts: what the shapes do not tell.
        heads: "count" = heads of every level, or "width" = channels of one head.
    Raises:
        KeyError: a tensor is missing that tells a size.
    """
    own = {name.removeprefix(UNET): tensor for name, tensor in tensors.items() if name.startswith(UNET)}
    widths: list[int] = []
    depths: list[int] = []
    layers = 0
    for block in range(1, _count(own, r"input_blocks\.(\d+)\.")):
        if f"input_blocks.{block}.0.op.weight" in own:
            continue
        width = own[f"input_blocks.{block}.0.in_layers.2.weight"].shape[0]
        if block == 1 or f"input_blocks.{block - 1}.0.op.weight" in own:
            widths.append(width)
            depths.append(_count(own, rf"^input_blocks\.{block}\.1\.transformer_blocks\.(\d+)\."))
        layers += len(widths) == 1
    states = own["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    count = heads.get("count")
    pooled = own.get("label_emb.0.0.weight")
    return {
        **facts,
        **({} if pooled is None else {"projection_class_embeddings_input_dim": pooled.shape[1]}),
        **({"transformer_layers_per_block": [max(1, depth) for depth in depths]} if max(depths) > 1 else {}),
        "in_channels": own["input_blocks.0.0.weight"].shape[1],
        "out_channels": own["out.2.weight"].shape[0],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "cross_attention_dim": states,
        "attention_head_dim": count or [width // heads["width"] for width in widths],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
    }


def vae_config(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' configuration of a VAE in the original layout.

    Args:
        tensors: names without `first_stage_model.`.
        facts: what the shapes do not tell.
    Raises:
        KeyError: a tensor is missing that tells a size.
    """
    levels = _count(tensors, r"encoder\.down\.(\d+)\.")
    widths = [tensors[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in range(levels)]
    return {
        **facts,
        "in_channels": tensors["encoder.conv_in.weight"].shape[1],
        "out_channels": tensors["decoder.conv_out.weight"].shape[0],
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "block_out_channels": widths,
        "layers_per_block": _count(tensors, r"encoder\.down\.0\.block\.(\d+)\."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }


def text_config(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' configuration of a text encoder whose names are already transformers'.

    Args:
        tensors: the layers that are used, names without `text_model.`.
        facts: what the shapes do not tell.
    Raises:
        KeyError: a tensor is missing that tells a size.
    """
    vocabulary, width = tensors["embeddings.token_embedding.weight"].shape
    projection = tensors.get("text_projection.weight")
    return {
        **facts,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": width if projection is None else projection.shape[0],
        "intermediate_size": tensors["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _count(tensors, r"^encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": tensors["embeddings.position_embedding.weight"].shape[0],
    }


def _count(names: Iterable[str], pattern: str) -> int:
    """1 + the highest number that the pattern finds."""
    found = [int(match[1]) for name in names if (match := re.search(pattern, name))]
    return 1 + max(found, default=-1)
