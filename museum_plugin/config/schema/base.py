"""The frozen model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class BaseConfig:
    """The frozen model that is taught."""

    path: Path
    """A diffusers folder."""
    mixed_precision: str = "no"
    """no | fp16 | bf16: what the forward pass computes in; LoRA and slots stay float32."""
    gradient_checkpointing: bool = False
    clip_skip: int = 1
    """1 = the text encoder's last layer, 2 = the one before."""

    def __post_init__(self) -> None:
        require(
            self.mixed_precision in ("no", "fp16", "bf16"),
            f"mixed_precision: found {self.mixed_precision!r}, allowed: no, fp16, bf16",
        )
        require(self.clip_skip >= 1, f"clip_skip: found {self.clip_skip}, must be 1 or more")
