"""SDXL's U-Net as sd-scripts builds it: modules named by the original code, called with one vector of pooled text and
sizes. Made of the layers of a U-Net of diffusers, so that the two can be compared. Own code, nothing of theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F


class ResnetBlock2D(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(block.norm1, nn.SiLU(), block.conv1)
        self.emb_layers = nn.Sequential(nn.SiLU(), block.time_emb_proj)
        self.out_layers = nn.Sequential(block.norm2, nn.SiLU(), nn.Identity(), block.conv2)
        self.skip_connection = block.conv_shortcut or nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        result: Tensor = self.skip_connection(x) + self.out_layers(inner)
        return result


class Downsample2D(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.op = block.conv

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.op(x)
        return result


class Upsample2D(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv = block.conv

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result


class OriginalUNet(nn.Module):
    """Called as `unet(noisy, t, states, vector)`, gives a tensor."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        time, label = unet.time_embedding, unet.add_embedding
        self.time_embed = nn.Sequential(time.linear_1, nn.SiLU(), time.linear_2)
        self.label_emb = nn.Sequential(nn.Sequential(label.linear_1, nn.SiLU(), label.linear_2))
        inputs: list[nn.Module] = [nn.Sequential(unet.conv_in)]
        for level in unet.down_blocks:
            inputs += _rows(level)
            inputs += [nn.Sequential(Downsample2D(each)) for each in level.downsamplers or ()]
        self.input_blocks = nn.ModuleList(inputs)
        first, second = map(ResnetBlock2D, unet.mid_block.resnets)
        self.middle_block = nn.ModuleList([first, unet.mid_block.attentions[0], second])
        outputs: list[nn.ModuleList] = []
        for level in unet.up_blocks:
            outputs += _rows(level)
            outputs[-1].extend(Upsample2D(each) for each in level.upsamplers or ())
        self.output_blocks = nn.ModuleList(outputs)
        self.out = nn.Sequential(unet.conv_norm_out, nn.SiLU(), unet.conv_out)

    @property
    def dtype(self) -> torch.dtype:
        return self.out[2].weight.dtype

    def forward(self, noisy: Tensor, t: Tensor, states: Tensor, vector: Tensor) -> Tensor:
        waves = get_timestep_embedding(
            t.expand(len(noisy)), self.time_embed[0].in_features, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        time = self.time_embed(waves.to(noisy.dtype)) + self.label_emb(vector)
        kept, x = list[Tensor](), noisy
        for block in self.input_blocks:
            x = _through(block, x, time, states)
            kept.append(x)
        x = _through(self.middle_block, x, time, states)
        for block in self.output_blocks:
            x = _through(block, torch.cat([x, kept.pop()], dim=1), time, states)
        result: Tensor = self.out(x)
        return result


def _rows(level: Any) -> list[nn.ModuleList]:
    attentions = getattr(level, "attentions", None) or [None] * len(level.resnets)
    pairs = zip(level.resnets, attentions, strict=True)
    return [nn.ModuleList([ResnetBlock2D(one), *([] if other is None else [other])]) for one, other in pairs]


def _through(block: Any, x: Tensor, time: Tensor, states: Tensor) -> Tensor:
    for layer in block:
        if isinstance(layer, ResnetBlock2D):
            x = layer(x, time)
        else:
            x = layer(x, states, return_dict=False)[0] if isinstance(layer, Transformer2DModel) else layer(x)
    return x
