"""Names of tensors in LoRA files of other programs -> kohya's key of the module, and which part of it they are.

kohya, LyCORIS      lora_unet_mid_block_..._to_q.lora_down.weight      .lora_up.weight  .alpha
others              the same after diffusers for SDXL, after the original code for SD1 and SD2, or lycoris_mid_block_...
peft                base_model.model.mid_block...to_q.lora_A.weight    .lora_A.default.weight
diffusers           unet.mid_block...to_q.lora_A.weight                .lora.down.weight
diffusers of old    unet.mid_block...attn1.processor.to_q_lora.down.weight
ComfyUI             diffusion_model.middle_block...to_q.lora_up.weight text_encoders.clip_l.transformer.text_model...

Strings only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from museum_plugin.museum.keys import diffusers_key, kohya_key, original_key

DOWN, UP, ALPHA = "down", "up", "alpha"
_ENDINGS = (
    (DOWN, re.compile(r"\.(?:lora_down|lora_A(?:\.\w+)?|lora\.down|lora_linear_layer\.down)\.weight$")),
    (UP, re.compile(r"\.(?:lora_up|lora_B(?:\.\w+)?|lora\.up|lora_linear_layer\.up)\.weight$")),
    (ALPHA, re.compile(r"\.alpha$")),
)
_ATTENTION = re.compile(r"(?:\.processor)?\.to_(q|k|v|out)_lora\.(down|up)\.weight$")
"""Old files of diffusers name the parts of an attention so, also in text encoders."""
_OTHER_KINDS = (
    (re.compile(r"\.(dora_scale|lora_magnitude_vector)\b"), "DoRA, which scales the weights it changes"),
    (re.compile(r"\.hada_|\.lora_hada"), "LoHa, a product of two low-rank changes"),
    (re.compile(r"\.lokr_"), "LoKr, a Kronecker product"),
    (re.compile(r"\.lora_mid\."), "a convolution in three parts (tucker, use_cp)"),
    (re.compile(r"\.oft_|\.boft_"), "OFT, a rotation of the weights"),
    (re.compile(r"\.on_input$|\.ia3_"), "IA3, which scales the weights"),
    (re.compile(r"\.diff(_b)?$|\.w_norm$|\.b_norm$|\.lora_B(\.\w+)?\.bias$"), "a full change of weights or biases"),
    (re.compile(r"\.[ab]\d\.weight$"), "GLoRA"),
    (re.compile(r"\.scalar$"), "a LoRA with a trained scale (use_scalar)"),
)
_UNET_LEVELS = (
    "down_blocks.", "mid_block.", "up_blocks.", "conv_in", "conv_out", "time_embedding.",
    "input_blocks.", "middle_block.", "output_blocks.",
)  # fmt: skip
_TEXT_LEVELS = ("text_model.", "encoder.layers.")
_OUTER = re.compile(r"^(?:base_model\.model\.|lora\.)+")
"""What wrappers put before a module's path."""
_PARTS = (
    ("unet", re.compile(r"^(?:unet|(?:model\.)?diffusion_model)\.")),
    ("text_encoder", re.compile(r"^(?:text_encoder|(?:text_encoders\.)?clip_[lh]\.transformer)\.")),
    ("text_encoder_2", re.compile(r"^(?:text_encoder_2|(?:text_encoders\.)?clip_g\.transformer)\.")),
)
"""How names of a part begin: in diffusers, and in ComfyUI."""
_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)$")
"""A layer of an attention whose processor holds it."""
_TEXT_LAYERS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}


class Place(NamedTuple):
    """Which module a tensor belongs to."""

    key: str
    """kohya's; a name that is no known spelling stands as it is."""
    part: str
    """Of the model, as diffusers calls it: "unet", "text_encoder", "text_encoder_2"; "" in kohya's spelling."""
    path: str
    """Dotted path of the module in its part; "" in kohya's spelling."""


def split_name(name: str) -> tuple[str, str] | None:
    """A tensor's module and which part of it the tensor is: DOWN, UP or ALPHA; None for anything else."""
    old = _ATTENTION.search(name)
    if old:
        inside, layer = name[: old.start()], old[1]
        if "self_attn" in inside:
            return f"{inside}.{_TEXT_LAYERS[layer]}", old[2]
        return f"{inside}.to_{layer}" + (".0" if layer == "out" else ""), old[2]
    for kind, ending in _ENDINGS:
        found = ending.search(name)
        if found:
            return name[: found.start()], kind
    return None


def other_kind(name: str) -> str | None:
    """What kind of adapter, other than a plain LoRA, has a tensor of this name, in words."""
    return next((told for pattern, told in _OTHER_KINDS if pattern.search(name)), None)


def place_of(module: str, text_parts: Sequence[str] = ("te",)) -> Place:
    """Where a module of any spelling lies.

    Args:
        module: what `split_name` gives.
        text_parts: kohya's names of the base's text encoders, in order.
    """
    path = _OUTER.sub("", module)
    if path.startswith(("lora_", "lycoris_")):
        key = re.sub(r"^lycoris_(?=(down|mid|up|input|middle|output)_block)", "lora_unet_", path)
        return Place(_of_family(_with_text_model(key), text_parts), "", "")
    part = next((part for part, begin in _PARTS if begin.match(path)), "")
    if not part:
        part = "text_encoder" if path.startswith(_TEXT_LEVELS) else "unet" if path.startswith(_UNET_LEVELS) else ""
        if not part:
            return Place(module, "", "")
    path = _OUTER.sub("", dict(_PARTS)[part].sub("", path))
    if part == "unet":
        path = _PROCESSOR.sub(lambda found: f".{found[1]}" + (".0" if found[1] == "to_out" else ""), path)
        return Place(_of_family(kohya_key("unet", path), text_parts), part, path)
    number = 1 if part == "text_encoder_2" else 0
    return Place(kohya_key(text_parts[number] if number < len(text_parts) else "te2", path), part, path)


def _of_family(key: str, text_parts: Sequence[str]) -> str:
    """SDXL, which has two text encoders, names modules of the U-Net after the original code, others after diffusers."""
    if len(text_parts) > 1:
        return original_key(key)
    return diffusers_key(re.sub(r"^lora_te1_", f"lora_{text_parts[0]}_", key))


def _with_text_model(key: str) -> str:
    """Some programs leave a level of a text encoder out of its keys."""
    return re.sub(r"^(lora_te[12]?_)(?=encoder_layers_)", r"\1text_model_", key)
