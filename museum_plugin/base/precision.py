"""The frozen U-Net's weights in fewer bits than it computes in. LoRA and slots stay as they are.

A weight is stored small and made whole again where it is used, in the forward and again in the backward pass: no whole
copy outlives the layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

_BLOCKS = ("down_blocks", "mid_block", "up_blocks")
"""What is stored small; the first and last layers, whose errors reach everything, are not."""
_LARGEST_FP8, _LARGEST_INT8 = 448.0, 127.0
_NF4_BLOCK = 64
_HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Stored:
    """A weight in few bits."""

    parts: tuple[Tensor, ...]
    """All that is kept of it."""
    whole: Callable[[], Tensor]
    """The weight again, in its own shape and in the type that the model computes in."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(part.nbytes for part in self.parts)


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
        return Stored((half,), lambda: half.to(dtype))
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
    return Stored((few, scale), lambda: few.to(dtype).mul_(scale.to(dtype)).view(shape))


def _stored_nf4(weight: Tensor) -> Stored:
    from bitsandbytes import functional

    few, state = functional.quantize_4bit(weight.detach().contiguous(), blocksize=_NF4_BLOCK, quant_type="nf4")
    shape, dtype = weight.shape, weight.dtype
    return Stored((few, state.absmax), lambda: functional.dequantize_4bit(few, state).to(dtype).view(shape))


class _SmallWeight:
    """A Linear or convolution whose weight is stored small: the same module, but for its weight and its passes."""

    stored: Stored

    @property
    def weight(self) -> Tensor:
        """The whole weight, made anew; frozen."""
        return self.stored.whole()

    def forward(self, x: Tensor) -> Tensor:
        return _Frozen.apply(x, self)


class SmallLinear(_SmallWeight, nn.Linear):  # type: ignore[override]
    """A Linear whose weight is stored small."""


class SmallConv2d(_SmallWeight, nn.Conv2d):  # type: ignore[override]
    """A convolution whose weight is stored small."""


class _Frozen(torch.autograd.Function):
    """What a frozen module does, keeping neither its whole weight nor its input for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: Any) -> Tensor:
        ctx.module, ctx.shape, ctx.dtype = module, x.shape, x.dtype
        if isinstance(module, nn.Linear):
            return F.linear(x, module.weight, module.bias)
        return F.conv2d(x, module.weight, module.bias, module.stride, module.padding, module.dilation, module.groups)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        module, grad = ctx.module, grads[0]
        weight = module.weight.to(grad.dtype)
        if isinstance(module, nn.Linear):
            return (grad @ weight).to(ctx.dtype), None
        whole = conv2d_input(ctx.shape, weight, grad, module.stride, module.padding, module.dilation, module.groups)
        return whole.to(ctx.dtype), None


def store_small(unet: nn.Module, precision: str) -> int:
    """Store the weights of a frozen U-Net's blocks small: those of its Linear layers and convolutions.

    Args:
        precision: see `store`.
    Returns:
        bytes that the weights of these modules take now.
    """
    taken = 0
    for name in _BLOCKS:
        for module in unet.get_submodule(name).modules():
            if not isinstance(module, nn.Linear | nn.Conv2d):
                continue
            stored = store(module._parameters.pop("weight"), precision)
            module.__class__ = SmallLinear if isinstance(module, nn.Linear) else SmallConv2d
            module.stored = stored
            taken += stored.nbytes
    return taken
