"""SDXL's U-Net as sd-scripts builds it, called and watched as one of diffusers is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

_PARTS = ("input_blocks", "middle_block", "output_blocks")
_ROWS = 3
"""Of input and output blocks on each level: two or three ResNets, and what changes the size."""


class LentUNet(nn.Module):
    """Another program's U-Net in the original layout: `host(noisy, t, states, vector)` -> prediction.

    Its modules and tensors have the names that they have there; nothing is copied. Only the outputs of whole blocks
    are known by the names of diffusers.
    """

    def __init__(self, host: nn.Module) -> None:
        super().__init__()
        self._host = (host,)  # in a tuple, so that every module is there once
        for name, child in sorted(host.named_children(), key=lambda pair: pair[0] == "middle_block"):
            self.add_module(name, child)  # last, as in diffusers: the layers of a LoRA follow this order
        down, middle, up = (list[Any](getattr(host, name)) for name in _PARTS)
        levels = (len(down) + _ROWS - 1) // _ROWS
        self.down_blocks, self.up_blocks = range(levels), range(levels)
        self._blocks: dict[str, nn.Module] = {"mid_block": middle[-1]}
        for level in range(levels):
            self._blocks[f"down_blocks.{level}"] = down[min(_ROWS * (level + 1), len(down) - 1)][-1]
            self._blocks[f"up_blocks.{level}"] = up[_ROWS * level + _ROWS - 1][-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the first weight."""
        return next(self.parameters()).dtype

    @property
    def host(self) -> nn.Module:
        """What the other program calls."""
        return self._host[0]

    def get_submodule(self, target: str) -> nn.Module:
        """A module; for a block of diffusers the one whose output is the block's."""
        return self._blocks[target] if target in self._blocks else super().get_submodule(target)

    def forward(self, noisy: Tensor, t: Tensor, states: Tensor, *, added_cond_kwargs: dict[str, Tensor]) -> Any:
        """As `UNet2DConditionModel` of diffusers.

        Args:
            noisy: (B, 4, h, w).
            t: (B,) or (1,).
            states: (B, L, D).
            added_cond_kwargs: "text_embeds" (B, P), "time_ids" (B, 6) pixels.
        Returns:
            something with a `sample` (B, 4, h, w).
        """
        pooled, sizes = added_cond_kwargs["text_embeds"], added_cond_kwargs["time_ids"]
        taken = self.get_submodule("label_emb.0.0").weight.shape[1]
        width = (taken - pooled.shape[1]) // sizes.shape[1]
        vector = torch.cat([pooled, size_embedding(sizes, width).to(pooled)], dim=1).to(noisy.dtype)
        return SimpleNamespace(sample=self.host(noisy, t, states, vector))


def size_embedding(sizes: Tensor, width: int) -> Tensor:
    """(B, 6) pixels -> (B, 6 * width) float32: cosines, then sines, of each number. Source: SDXL, sd-scripts."""
    from diffusers.models.embeddings import get_timestep_embedding

    waves = get_timestep_embedding(sizes.flatten().float(), width, flip_sin_to_cos=True, downscale_freq_shift=0)
    return waves.unflatten(0, sizes.shape).flatten(1)
