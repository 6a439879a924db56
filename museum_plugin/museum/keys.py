"""Names of LoRA modules in a file: the dotted path of a module <-> its key in kohya's format. Strings only."""

from __future__ import annotations

import re

_UNET_PREFIX = "lora_unet_"
_TEXT_PREFIXES = {"te": "lora_te_", "te1": "lora_te1_", "te2": "lora_te2_"}
_TEXT_MODEL = "text_model."
_BLOCK = re.compile(r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_UNDERSCORED = re.compile(
    rf"{_UNET_PREFIX}(down|mid|up)_block(?:s_(\d+))?_(resnets|attentions|downsamplers|upsamplers)_(\d+)_(.+)"
)
_RESNET = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
           "conv_shortcut": "skip_connection"}  # fmt: skip
_ORIGINAL = ("input_blocks.", "middle_block.", "output_blocks.")
_ORIGINAL_KEY = re.compile(rf"{_UNET_PREFIX}(?:(in|out)put_blocks_(\d+)|middle_block)_(\d+)_(.+)")
_LATER_RESNET = {name.replace(".", "_"): later for later, name in _RESNET.items()}
_ROWS = 3
"""Of the original code's blocks for each level of a U-Net."""


def kohya_key(part: str, module_path: str) -> str:
    """The key of a LoRA module, as sd-scripts names it.

    kohya_key("unet", "mid_block.attentions.0.proj_in") -> "lora_unet_mid_block_attentions_0_proj_in"
    kohya_key("te", "encoder.layers.0.self_attn.q_proj") -> "lora_te_text_model_encoder_layers_0_self_attn_q_proj"

    Args:
        part: "unet", for SDXL with the `original_path`; "te" for the text encoder of SD1 and SD2; "te1" and "te2" for
            those of SDXL.
        module_path: dotted path in the diffusers or transformers module. A text encoder's path may start with
            `text_model.` or not: transformers 5.6 dropped that level from CLIPTextModel, the key keeps it.
    Raises:
        ValueError: an unknown part.
    """
    if part == "unet":
        return _UNET_PREFIX + module_path.replace(".", "_")
    if part not in _TEXT_PREFIXES:
        raise ValueError(f"part: found {part!r}, allowed: unet, {', '.join(_TEXT_PREFIXES)}")
    inside = module_path.removeprefix(_TEXT_MODEL)
    return _TEXT_PREFIXES[part] + (_TEXT_MODEL + inside).replace(".", "_")


def original_path(path: str) -> str:
    """The path of a module of SDXL's U-Net in the original code, after which LoRA files of SDXL name it.

    original_path("down_blocks.1.attentions.0.proj_in") -> "input_blocks.4.1.proj_in"
    original_path("up_blocks.0.upsamplers.0.conv") -> "output_blocks.2.2.conv"

    A path of the original code stands as it is. Source: sd-scripts.

    Raises:
        ValueError: no module of a block.
    """
    if path.startswith(_ORIGINAL):
        return path
    match = _BLOCK.match(path)
    if not match:
        raise ValueError(f"no module of a U-Net block: {path!r}")
    side, block, part, number, inner = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    attends = part == "attentions"
    if part == "resnets":
        first, _, rest = inner.partition(".")
        inner = ".".join(filter(None, (_RESNET[first], rest)))
    if side == "mid":
        return f"middle_block.{1 if attends else 2 * number}.{inner}"
    if part == "downsamplers":
        return f"input_blocks.{_ROWS * (block + 1)}.0.{inner.replace('conv', 'op', 1)}"
    if part == "upsamplers":
        return f"output_blocks.{_ROWS * block + _ROWS - 1}.2.{inner}"
    row = _ROWS * block + number
    return f"{'input' if side == 'down' else 'output'}_blocks.{row + (side == 'down')}.{int(attends)}.{inner}"


def original_key(key: str) -> str:
    """kohya's key of a module of SDXL's U-Net that a file names after diffusers; any other key stands as it is.

    original_key("lora_unet_down_blocks_1_attentions_0_proj_in") -> "lora_unet_input_blocks_4_1_proj_in"
    """
    match = _UNDERSCORED.match(key)
    if not match:
        return key
    side, block, part, number, inner = match.groups()
    level = f"{side}_block" if block is None else f"{side}_blocks.{block}"
    try:
        return kohya_key("unet", original_path(f"{level}.{part}.{number}.{inner}"))
    except KeyError:  # a part of a ResNet that has no place in a LoRA
        return key


def diffusers_key(key: str) -> str:
    """kohya's key of a module of a U-Net that a file names after the original code; any other key stands as it is.

    diffusers_key("lora_unet_input_blocks_4_1_proj_in") -> "lora_unet_down_blocks_1_attentions_0_proj_in"
    """
    match = _ORIGINAL_KEY.fullmatch(key)
    if not match:
        return key
    side, block, part, inner = match[1], int(match[2] or 0), int(match[3]), match[4]
    if side is None:
        level, number, attends = "mid_block", part // 2, part == 1
    else:
        number = block - (side == "in")
        level, number = f"{'down' if side == 'in' else 'up'}_blocks_{number // _ROWS}", number % _ROWS
        if inner in ("op", "conv"):
            return f"{_UNET_PREFIX}{level}_{'down' if side == 'in' else 'up'}samplers_0_conv"
        attends = part == 1
    if attends:
        return f"{_UNET_PREFIX}{level}_attentions_{number}_{inner}"
    return f"{_UNET_PREFIX}{level}_resnets_{number}_{_LATER_RESNET.get(inner, inner)}"


def tensor_names(key: str) -> tuple[str, str, str]:
    """Names of a module's three tensors: down (rank, in, ...), up (out, rank, ...), alpha ()."""
    return f"{key}.lora_down.weight", f"{key}.lora_up.weight", f"{key}.alpha"
