"""Names of LoRA modules in a file: the dotted path of a module <-> its key in kohya's format. Strings only."""

from __future__ import annotations

_UNET_PREFIX = "lora_unet_"
_TEXT_PREFIXES = {"te": "lora_te_", "te1": "lora_te1_", "te2": "lora_te2_"}
_TEXT_MODEL = "text_model."


def kohya_key(part: str, module_path: str) -> str:
    """The key of a LoRA module, as sd-scripts names it.

    kohya_key("unet", "mid_block.attentions.0.proj_in") -> "lora_unet_mid_block_attentions_0_proj_in"
    kohya_key("te", "encoder.layers.0.self_attn.q_proj") -> "lora_te_text_model_encoder_layers_0_self_attn_q_proj"

    Args:
        part: "unet"; "te" for the text encoder of SD1 and SD2; "te1" and "te2" for those of SDXL.
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


def tensor_names(key: str) -> tuple[str, str, str]:
    """Names of a module's three tensors: down (rank, in, ...), up (out, rank, ...), alpha ()."""
    return f"{key}.lora_down.weight", f"{key}.lora_up.weight", f"{key}.alpha"
