"""Linear layers and convolutions that never keep their whole weight: it is made where it is used, and again for the
backward pass. So it may be stored in fewer bits, or in another memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.grad import conv2d_input

BLOCKS = ("down_blocks", "mid_block", "up_blocks")
"""The parts of a U-Net whose weights may be stored so; the first and last layers, which everything needs, are not."""


class Weight(Protocol):
    """Where a frozen module gets its weight."""

    def whole(self) -> Tensor:
        """The weight in its own shape, in the type that the model computes in, where it computes."""
        ...


@dataclass(frozen=True)
class Stored:
    """A weight that is kept as other tensors."""

    parts: tuple[Tensor, ...]
    """All that is kept of it."""
    rebuild: Callable[[tuple[Tensor, ...]], Tensor]
    """The weight, from its parts or from copies of them in another memory."""

    def whole(self) -> Tensor:
        """The weight again."""
        return self.rebuild(self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(part.nbytes for part in self.parts)

    def to(self, device: torch.device) -> Stored:
        """The same in another memory."""
        return replace(self, parts=tuple(part.to(device) for part in self.parts))


def as_it_is(weight: Tensor) -> Stored:
    """A weight that is kept whole."""
    return Stored((weight.detach(),), lambda parts: parts[0])


class _Frozen:
    """A Linear or convolution without a weight of its own: the same module, but for its weight and its passes."""

    stored: Weight

    @property
    def weight(self) -> Tensor:
        """The whole weight, made anew; frozen."""
        return self.stored.whole()

    def forward(self, x: Tensor) -> Tensor:
        return _Pass.apply(x, self)


class FrozenLinear(_Frozen, nn.Linear):  # type: ignore[override]
    """A Linear that gets its weight from `stored`."""


class FrozenConv2d(_Frozen, nn.Conv2d):  # type: ignore[override]
    """A convolution that gets its weight from `stored`."""


class _Pass(torch.autograd.Function):
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


def layers(block: nn.Module) -> Iterator[Any]:
    """The Linear layers and convolutions in a module."""
    return (module for module in block.modules() if isinstance(module, nn.Linear | nn.Conv2d))


def take_from(module: Any, stored: Weight) -> Parameter | None:
    """Let a module get its weight from `stored`.

    Returns:
        the weight that it had; None where it had none of its own.
    """
    weight: Parameter | None = module._parameters.pop("weight", None)
    module.__class__ = FrozenLinear if isinstance(module, nn.Linear) else FrozenConv2d
    module.stored = stored
    return weight


def give_back(module: Any, weight: Parameter) -> None:
    """The opposite of `take_from`: the module has a weight of its own again, in its place before the bias."""
    module.__class__ = nn.Linear if isinstance(module, nn.Linear) else nn.Conv2d
    del module.stored
    bias = module._parameters.pop("bias")
    module._parameters.update(weight=weight, bias=bias)


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """All that a network keeps: parameters, buffers, and the parts of weights that are stored otherwise."""
    yield from module.parameters()
    yield from module.buffers()
    for part in module.modules():
        stored = getattr(part, "stored", None)
        if isinstance(stored, Stored):
            yield from stored.parts
