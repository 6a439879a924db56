"""Names of tensors in LoRA files of other programs -> kohya's key of the module, and which part of it they are.

kohya, LyCORIS      lora_unet_mid_block_..._to_q.lora_down.weight      .lora_up.weight  .alpha
others              the same after diffusers for SDXL, where kohya's names are those of the original code
peft                base_model.model.mid_block...to_q.lora_A.weight    .lora_A.default.weight
diffusers           unet.mid_block...to_q.lora_A.weight                .lora.down.weight
diffusers of old    unet.mid_block...attn1.processor.to_q_lora.down.weight

Strings only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from museum_plugin.museum.keys import kohya_key, original_key, original_path

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
_UNET_LEVELS = ("down_blocks.", "mid_block.", "up_blocks.", "conv_in", "conv_out", "time_embedding.")
_TEXT_LEVELS = ("text_model.", "encoder.layers.")
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
    path = module.removeprefix("base_model.model.").removeprefix("lora.")
    if path.startswith("lora_"):
        return Place(_with_text_model(original_key(path) if len(text_parts) > 1 else path), "", "")
    if path.startswith("unet."):
        part, path = "unet", path.removeprefix("unet.")
    elif path.startswith("text_encoder_2."):
        part, path = "text_encoder_2", path.removeprefix("text_encoder_2.")
    elif path.startswith(("text_encoder.", *_TEXT_LEVELS)):
        part, path = "text_encoder", path.removeprefix("text_encoder.")
    elif path.startswith(_UNET_LEVELS):
        part = "unet"
    else:
        return Place(module, "", "")
    path = path.removeprefix("base_model.model.")
    if part == "unet":
        return Place(kohya_key("unet", _in_file(path, text_parts)), part, path)
    number = 1 if part == "text_encoder_2" else 0
    return Place(kohya_key(text_parts[number] if number < len(text_parts) else "te2", path), part, path)


def _in_file(path: str, text_parts: Sequence[str]) -> str:
    """SDXL, which has two text encoders, names modules after the original code."""
    try:
        return original_path(path) if len(text_parts) > 1 else path
    except ValueError:  # no module that a LoRA of ours has a place for
        return path


def _with_text_model(key: str) -> str:
    """Some programs leave a level of a text encoder out of its keys."""
    return re.sub(r"^(lora_te[12]?_)(?=encoder_layers_)", r"\1text_model_", key)
