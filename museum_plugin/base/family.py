"""What differs between the model families. Nothing else in the package asks which family it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """Facts of one family of base models."""

    name: str
    text_parts: tuple[str, ...]
    """kohya's names of the text encoders, in order: "te", or "te1" and "te2"."""
    slot_encoders: tuple[str, ...]
    """Names under which the slots of each text encoder are stored: "clip_l", "clip_h", "clip_g"."""
    version: str
    """`ss_base_model_version`."""
    architecture: str
    """`modelspec.architecture`, without "/lora"."""


SD1 = Family("sd1", ("te",), ("clip_l",), "sd_v1", "stable-diffusion-v1")
SD2 = Family("sd2", ("te",), ("clip_h",), "sd_v2", "stable-diffusion-v2-512")
SDXL = Family("sdxl", ("te1", "te2"), ("clip_l", "clip_g"), "sdxl_base_v1-0", "stable-diffusion-xl-v1-base")
FAMILIES = {family.name: family for family in (SD1, SD2, SDXL)}


def detect_family(unet_config: dict[str, Any]) -> Family:
    """The family of a U-Net, from the features of its configuration that no width changes.

    SDXL takes extra conditioning; SD2 projects into its transformers with Linear layers; SD1 with 1x1 convolutions.
    """
    if unet_config.get("addition_embed_type") == "text_time":
        return SDXL
    return SD2 if unet_config.get("use_linear_projection") else SD1
