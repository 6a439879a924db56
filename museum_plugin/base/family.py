"""What differs between the model families. Nothing else in the package asks which family it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

END_TOKEN, FIRST_TOKEN = "<|endoftext|>", "!"


@dataclass(frozen=True)
class Family:
    """Facts of one family of base models. What is a tuple has one entry for each text encoder, in their order."""

    name: str
    text_parts: tuple[str, ...]
    """kohya's names of the text encoders: "te", or "te1" and "te2"."""
    slot_encoders: tuple[str, ...]
    """Names under which the slots of each text encoder are stored: "clip_l", "clip_h", "clip_g"."""
    paddings: tuple[str, ...]
    """The token that fills up a prompt."""
    version: str
    """`ss_base_model_version`."""
    architecture: str
    """`modelspec.architecture`, without "/lora"."""
    version_of_v: str
    """`ss_base_model_version` where the base predicts v."""
    architecture_of_v: str
    implementation: str = "diffusers"
    """`modelspec.implementation`."""
    is_v2: bool = False
    """`ss_v2`, and what --v2 expects."""
    penultimate: bool = False
    """Text states are always those of the last layer but one, without the final norm: clip_skip changes nothing."""
    original_names: bool = False
    """LoRA files name the U-Net's modules as the original code does, not as diffusers does."""

    @property
    def text_folders(self) -> tuple[str, ...]:
        """Folders of the text encoders in a diffusers folder."""
        return ("text_encoder", "text_encoder_2")[: len(self.text_parts)]

    @property
    def tokenizer_folders(self) -> tuple[str, ...]:
        """Folders of the tokenizers in a diffusers folder."""
        return ("tokenizer", "tokenizer_2")[: len(self.text_parts)]


SD1 = Family(
    "sd1", ("te",), ("clip_l",), (END_TOKEN,), "sd_v1", "stable-diffusion-v1", "sd_v1_v", "stable-diffusion-v1"
)
SD2 = Family(
    "sd2", ("te",), ("clip_h",), (FIRST_TOKEN,), "sd_v2", "stable-diffusion-v2-512", "sd_v2_v",
    "stable-diffusion-v2-768-v", is_v2=True,
)  # fmt: skip
SDXL = Family(
    "sdxl", ("te1", "te2"), ("clip_l", "clip_g"), (END_TOKEN, FIRST_TOKEN), "sdxl_base_v1-0",
    "stable-diffusion-xl-v1-base", "sdxl_base_v1-0", "stable-diffusion-xl-v1-base",
    implementation="https://github.com/Stability-AI/generative-models", penultimate=True, original_names=True,
)  # fmt: skip
FAMILIES = {family.name: family for family in (SD1, SD2, SDXL)}


def detect_family(unet_config: dict[str, Any]) -> Family:
    """The family of a U-Net, from the features of its configuration that no width changes.

    SDXL takes extra conditioning; SD2 projects into its transformers with Linear layers; SD1 with 1x1 convolutions.
    """
    if unet_config.get("addition_embed_type") == "text_time":
        return SDXL
    return SD2 if unet_config.get("use_linear_projection") else SD1
