"""How many bytes of tensors are alive while code runs, and the most that ever were."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_BLOCK = 512
"""Bytes: what torch's allocator on a card rounds every tensor up to."""
_ROWS = 128
"""Queries are worked on in blocks of so many in the backward pass of attention."""


class LiveBytes(TorchDispatchMode):
    """While entered, counts the storages that are made on one kind of device, until nothing refers to them.

    Views and what is written in place are no new storage. Works on the meta device, where nothing is computed, as on
    any other: the code that runs is the same.
    """

    def __init__(self, device: str = "meta") -> None:
        """`device`: the kind whose tensors count."""
        super().__init__()
        self._device = device
        self._known: dict[int, Any] = {}
        self.now = 0
        """Bytes alive that were made inside."""
        self.most = 0
        """The highest `now` ever was, with what a single operation held besides."""

    def leave_out(self, tensors: Iterable[Tensor]) -> None:
        """Count no view of these: they were there before."""
        for tensor in tensors:
            self._take(tensor.untyped_storage(), 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at what it gave."""
        if func in _SLOW and self._device == "meta":
            out = _empty(_result(func, _shape(args), _shape(tuple((kwargs or {}).items()))))
        else:
            out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and tensor.device.type == self._device:
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known:
                    self._take(storage, rounded(storage.nbytes()))
        beside = attention_workspace(args[1].shape) if func in _ATTENTION and args[1].element_size() == 2 else 0
        self.most = max(self.most, self.now + beside)
        return out

    def _take(self, storage: torch.UntypedStorage, count: int) -> None:
        key = storage._cdata
        self.now += count
        self._known[key] = weakref.finalize(storage, self._forget, key, count)

    def _forget(self, key: int, count: int) -> None:
        del self._known[key]
        self.now -= count


_SLOW = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("native_layer_norm", "native_layer_norm_backward", "native_group_norm", "native_group_norm_backward",
                 "addmm", "mm", "gelu", "gelu_backward", "_scaled_dot_product_flash_attention",
                 "_scaled_dot_product_flash_attention_backward")
) | {torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor, torch.ops.aten.div.Tensor}  # fmt: skip
"""Operations whose shapes torch works out in Python; none of them gives a view or writes in place."""


def _shape(value: Any) -> Any:
    """Of a tensor all that a result without numbers depends on; of several, a tuple; anything else as it is."""
    if isinstance(value, Tensor):
        return _Shape((value.shape, value.stride(), value.dtype, value.device))
    return tuple(map(_shape, value)) if isinstance(value, tuple | list) else value


class _Shape(tuple[Any, ...]):
    """Shape, strides, type and device of a tensor."""


@lru_cache(maxsize=8192)
def _result(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation on the meta device gives follows from the shapes of what it is given."""
    return _shape(func(*_empty(args), **dict(_empty(kwargs))))


def _empty(shape: Any) -> Any:
    if isinstance(shape, _Shape):
        size, stride, dtype, device = shape
        return torch.empty_strided(size, stride, dtype=dtype, device=device)
    return tuple(map(_empty, shape)) if isinstance(shape, tuple) else shape


_ATTENTION = (
    torch.ops.aten._scaled_dot_product_flash_attention_backward.default,
    torch.ops.aten._scaled_dot_product_efficient_attention_backward.default,
)


def attention_workspace(shape: Iterable[int]) -> int:
    """Bytes that the backward pass of attention holds besides: gradients of half-precision queries in float32.

    Source: FlashAttention-2 (arXiv:2307.08691), whose kernels add them up there.

    Args:
        shape: (B, heads, L, d) of the queries.
    """
    batch, heads, length, width = shape
    return 4 * batch * heads * (-(-length // _ROWS) * _ROWS) * width


def rounded(count: int) -> int:
    """Bytes that an allocator on a card takes for so many. Source: torch's caching allocator."""
    return -(-count // _BLOCK) * _BLOCK


def own_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of tensors, each once, as an allocator on a card takes them."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(rounded(count) for count in storages.values())
