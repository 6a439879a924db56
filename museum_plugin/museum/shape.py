"""How wide the LoRA layer of each module is. Pure functions of names, kernels and settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import nn

from museum_plugin.config.schema import NetworkConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.block_weights import BlockCounts, block_weights

_SIDE_BLOCK = re.compile(r"lora_unet_(down|up)_blocks_(\d+)_(resnets|upsamplers|downsamplers|attentions)_(\d+)_")
_ORIGINAL_BLOCK = re.compile(r"lora_unet_(input_blocks|middle_block|output_blocks)_(\d+)_")
_FIRST_OF_SDXL = {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}
_MIDDLE, _PER_STAGE = 12, 3


class LayerShape(NamedTuple):
    """The rank of one layer, and its alpha; scale = alpha / rank."""

    rank: int
    alpha: float


def block_of(key: str) -> int:
    """The number of the U-Net block that a module lies in, as sd-scripts counts them.

    SD1 and SD2: 1..11 down, 12 middle, 13..24 up, three to a stage, of which the third is the sampler. SDXL, whose keys
    are those of the original code: 1..9 input, 10..12 middle, 13..21 output.

    Raises:
        ValueError: no key of a U-Net module.
    """
    original = _ORIGINAL_BLOCK.match(key)
    if original:
        return _FIRST_OF_SDXL[original[1]] + int(original[2])
    if key.startswith("lora_unet_mid_block_"):
        return _MIDDLE
    side = _SIDE_BLOCK.match(key)
    if not side:
        raise ValueError(f"no module of a U-Net block: {key!r}")
    place = 2 if side[3].endswith("samplers") else int(side[4])
    return (1 if side[1] == "down" else _MIDDLE + 1) + _PER_STAGE * int(side[2]) + place


def block_counts(keys: Iterable[str]) -> BlockCounts:
    """How sd-scripts counts the blocks of the U-Net these keys belong to."""
    return BlockCounts.SDXL if any(_ORIGINAL_BLOCK.match(key) for key in keys) else BlockCounts.SD1


def layer_shapes(modules: Mapping[str, nn.Module], config: NetworkConfig) -> dict[str, LayerShape]:
    """The layers that a configuration asks for, by kohya key; a module that gets none is left out.

    Args:
        modules: what `target_modules` finds, with convolutions where the configuration has them.
    Raises:
        ConfigError: numbers for each block that are not as many as this U-Net's blocks, or no layer is left.
    """
    given, counts = config.arguments, block_counts(modules)
    total = counts.total
    for name in ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"):
        values = getattr(given, name)
        if values is not None and len(values) != total:
            raise ConfigError(f"network_args: {name}: found {len(values)} numbers, but this U-Net has {total} blocks")
    conv_alpha = 1.0 if given.conv_alpha is None else given.conv_alpha  # sd-scripts
    everywhere = {False: LayerShape(config.rank, config.alpha), True: LayerShape(given.conv_dim or 0, conv_alpha)}
    by_block = {
        False: _each_block(given.block_dims, given.block_alphas, everywhere[False], total),
        True: _each_block(given.conv_block_dims, given.conv_block_alphas, everywhere[True], total),
    }
    factors = block_weights(given, counts)
    shapes = {}
    for key, module in modules.items():
        shape = everywhere[is_wide(module)]
        if given.by_block and key.startswith("lora_unet_"):
            block = block_of(key)
            shape = by_block[is_wide(module)][block] if factors[block] > 0 else LayerShape(0, 0.0)
        if shape.rank > 0:
            shapes[key] = shape if shape.alpha > 0 else LayerShape(shape.rank, float(shape.rank))
    if not shapes:
        raise ConfigError("network_args: no module is left that would get a LoRA layer")
    return shapes


def is_wide(module: nn.Module) -> bool:
    """Whether a module is a convolution that sees more than one pixel."""
    return isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)


def _each_block(
    ranks: tuple[int, ...] | None, alphas: tuple[float, ...] | None, usual: LayerShape, total: int
) -> list[LayerShape]:
    pairs = zip(ranks or (usual.rank,) * total, alphas or (usual.alpha,) * total, strict=True)
    return [LayerShape(rank, alpha) for rank, alpha in pairs]
