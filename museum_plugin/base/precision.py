"""The frozen U-Net's weights in fewer bits than it computes in. LoRA and slots stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from museum_plugin.base.frozen import BLOCKS, Stored, layers, take_from

_LARGEST_FP8, _LARGEST_INT8 = 448.0, 127.0
_NF4_BLOCK = 64
_HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def store(weight: Tensor, precision: str) -> Stored:
    """A weight in few bits.

    fp8 (e4m3) and int8 have one scale for each row, its largest absolute value being the largest number there is; nf4
    (arXiv:2305.14314, by bitsandbytes) has one for every 64 numbers.

    Args:
        weight: (out, ...), finite, in the type that the model computes in.
        precision: fp16 | bf16 | fp8 | int8 | nf4.
    Raises:
        ValueError: another precision.
    """
    dtype = weight.dtype
    if precision in _HALVES:
        half = weight.to(_HALVES[precision])
        return Stored((half,), lambda parts: parts[0].to(dtype))
    if precision == "nf4":
        return _stored_nf4(weight)
    if precision not in ("fp8", "int8"):
        raise ValueError(f"no weight is stored in {precision}")
    rows = weight.detach().float().flatten(1)
    largest = _LARGEST_FP8 if precision == "fp8" else _LARGEST_INT8
    scale = (rows.abs().amax(dim=1, keepdim=True) / largest).clamp(min=torch.finfo(torch.float32).tiny)
    scaled = rows / scale
    few = scaled.clamp(-largest, largest).to(torch.float8_e4m3fn) if precision == "fp8" else scaled.round().char()
    shape = weight.shape
    return Stored((few, scale), lambda parts: parts[0].to(dtype).mul_(parts[1].to(dtype)).view(shape))


def _stored_nf4(weight: Tensor) -> Stored:
    from bitsandbytes import functional

    few, state = functional.quantize_4bit(weight.detach().contiguous(), blocksize=_NF4_BLOCK, quant_type="nf4")
    shape, dtype = weight.shape, weight.dtype

    def rebuild(parts: tuple[Tensor, ...]) -> Tensor:
        few, largest = parts
        told = functional.QuantState(largest, shape, dtype=dtype, blocksize=_NF4_BLOCK, quant_type="nf4")
        return functional.dequantize_4bit(few, told).view(shape)

    return Stored((few, state.absmax), rebuild)


def store_small(unet: nn.Module, precision: str, device: torch.device | None = None) -> int:
    """Store the weights of a frozen U-Net's blocks small: those of its Linear layers and convolutions.

    Args:
        precision: see `store`.
        device: where they go, one after another, so that the whole of them is never there; None: where they are.
    Returns:
        bytes that the weights of these modules take now.
    """
    taken = 0
    for name in BLOCKS:
        for module in layers(unet.get_submodule(name)):
            stored = store(module.weight.to(device), precision)
            take_from(module, stored)
            taken += stored.nbytes
    return taken
