"""A diffusers folder -> one checkpoint in Stable Diffusion's original layout, as people share models."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from museum_plugin.pocket.vocabulary import build_tokenizer
from tests.tiny_models import TINY_SLOT_WORDS

Tensors = dict[str, Tensor]
_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
           "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip
_ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
         "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
_OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
              "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
VAE_STYLES = {
    "original": {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "group_norm": "norm"},
    "query": {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn", "group_norm": "group_norm"},
    "to_q": {"group_norm": "group_norm"},
}
"""Names of the VAE's attention that are met in files."""


def write_true_base(folder: Path, *, sd2: bool = False, prediction_type: str = "epsilon") -> Path:
    """Write a random diffusers folder with SD1's or SD2's heads and groups, in fp16 values, as small as these allow."""
    tokenizer = build_tokenizer(TINY_SLOT_WORDS, folder / "tokenizer")
    width = 64 if sd2 else 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parts = {
            "unet": UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(64, 64) if sd2 else (32, 32, 64, 64),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D") if sd2 else _down(4),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D") if sd2 else _up(4),
                layers_per_block=1,
                cross_attention_dim=width,
                attention_head_dim=(1, 1) if sd2 else 8,
                use_linear_projection=sd2,
            ),
            "vae": AutoencoderKL(
                block_out_channels=(32,) * 4,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=1,
                latent_channels=4,
                sample_size=64,
            ),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=width,
                    intermediate_size=2 * width,
                    num_hidden_layers=2,
                    num_attention_heads=1,
                    hidden_act="gelu" if sd2 else "quick_gelu",
                    bos_token_id=tokenizer.bos_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            ),
        }
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type=prediction_type,
    )  # fmt: skip
    scheduler.save_pretrained(folder / "scheduler")
    for name, part in parts.items():
        part.half().float().save_pretrained(folder / name)
    return folder


def original_tensors(folder: Path, *, vae_style: str = "original", linear: bool | None = None) -> Tensors:
    """All tensors of a diffusers folder under their original names.

    Args:
        vae_style: one of VAE_STYLES; "original" has 1x1 convolutions there, "to_q" linear layers.
        linear: whether proj_in and proj_out are matrices; None = as in the folder.
    """
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    layers = UNet2DConditionModel.load_config(folder / "unet")["layers_per_block"]
    found = {f"model.diffusion_model.{unet_name(n, layers, unet)}": _projection(n, t, linear) for n, t in unet.items()}
    found |= {f"first_stage_model.{name}": tensor for name, tensor in original_vae(folder / "vae", vae_style).items()}
    if CLIPTextConfig.from_pretrained(folder / "text_encoder").hidden_act == "gelu":
        return found | open_clip_tensors(text)
    prefix = "cond_stage_model.transformer.text_model."
    return found | {prefix + name.removeprefix("text_model."): tensor for name, tensor in text.items()}


def original_vae(folder: Path, style: str = "original") -> Tensors:
    """The tensors of a VAE's folder under their original names, without prefix."""
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    levels = len(AutoencoderKL.load_config(folder)["block_out_channels"])
    found = {}
    for name, tensor in tensors.items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{levels - 1 - int(match[1])}", name)
        name = name.replace(".resnets.", ".block.").replace(".upsamplers.0", ".upsample")
        name = re.sub(r"mid_block\.block\.(\d+)", lambda match: f"mid.block_{1 + int(match[1])}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0." in name:
            name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
            for later, earlier in VAE_STYLES[style].items():
                name = name.replace(f".{later}.", f".{earlier}.")
            if style == "original" and tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        found[name] = tensor
    return found


def open_clip_tensors(text: Tensors, prefix: str = "cond_stage_model.model.", unused: int = 1) -> Tensors:
    """A text encoder as OpenCLIP's, with its projection.

    Args:
        unused: further layers that nobody uses.
    """
    start, found = prefix, Tensors()
    last = max(int(match[1]) for name in text if (match := re.search(r"layers\.(\d+)\.", name)))
    layers = {int(n): f"transformer.resblocks.{n}." for n in range(last + 1 + unused)}
    for layer, place in layers.items():
        prefix = f"encoder.layers.{min(layer, last)}."
        own = {n.split(prefix)[1]: t for n, t in text.items() if prefix in n}
        own = {name: tensor + (layer > last) for name, tensor in own.items()}
        for kind in ("weight", "bias"):
            fused = torch.cat([own.pop(f"self_attn.{part}_proj.{kind}") for part in "qkv"])
            found[f"{place}attn.in_proj_{kind}"] = fused
        for name, tensor in own.items():
            part, _, kind = name.rpartition(".")
            found[f"{place}{_OPEN_CLIP[part]}.{kind}"] = tensor
    by_end = {name.removeprefix("text_model."): tensor for name, tensor in text.items()}
    found["token_embedding.weight"] = by_end["embeddings.token_embedding.weight"]
    found["positional_embedding"] = by_end["embeddings.position_embedding.weight"]
    found["ln_final.weight"], found["ln_final.bias"] = (
        by_end["final_layer_norm.weight"],
        by_end["final_layer_norm.bias"],
    )
    projection = text.get("text_projection.weight")
    found["text_projection"] = torch.eye(len(found["ln_final.bias"])) if projection is None else projection.T
    found["logit_scale"] = torch.tensor(4.6)
    return {f"{start}{name}": tensor for name, tensor in found.items()}


def unet_name(name: str, layers: int, unet: Tensors) -> str:
    """The original name of a U-Net's tensor."""
    stem, _, kind = name.rpartition(".")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.{kind}"
    side, block, rest = re.match(r"(down|mid|up)_block(?:s\.(\d+))?\.(.+)", name).groups()  # type: ignore[union-attr]
    part, index, inner = re.match(r"(\w+)\.(\d+)\.(.+)", rest).groups()  # type: ignore[union-attr]
    if part == "resnets":
        old = inner.rpartition(".")[0]
        inner = inner.replace(old, _RESNET[old])
    if side == "mid":
        return f"middle_block.{1 if part == 'attentions' else 2 * int(index)}.{inner}"
    first = int(block) * (layers + 1)
    if part == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.{inner.replace('conv', 'op')}"
    if part == "upsamplers":
        place = 2 if any(n.startswith(f"up_blocks.{block}.attentions") for n in unet) else 1
        return f"output_blocks.{first + layers}.{place}.{inner}"
    row = first + int(index) + (side == "down")
    return f"{'input' if side == 'down' else 'output'}_blocks.{row}.{int(part == 'attentions')}.{inner}"


def _projection(name: str, tensor: Tensor, linear: bool | None) -> Tensor:
    if linear is None or not name.endswith((".proj_in.weight", ".proj_out.weight")):
        return tensor
    return tensor.reshape(*tensor.shape[:2], *(() if linear else (1, 1)))


def _down(levels: int) -> tuple[str, ...]:
    return (*["CrossAttnDownBlock2D"] * (levels - 1), "DownBlock2D")


def _up(levels: int) -> tuple[str, ...]:
    return ("UpBlock2D", *["CrossAttnUpBlock2D"] * (levels - 1))
