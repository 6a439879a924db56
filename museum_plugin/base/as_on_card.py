"""Tensors of the meta device treated as a graphics card would treat its own, so that what is counted is its memory.

On the meta device torch has no autocast, and attention would be worked out with whole matrices of weights. Here both
are as on a card: autocast by torch's lists for CUDA (https://docs.pytorch.org/docs/stable/amp.html), attention by the
kernels that keep no matrix (flash in half precision, else memory-efficient).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

IN_HALF = ("linear", "conv2d", "matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "addmm", "mm")
"""What autocast does in half precision, as far as it is called here."""
IN_FULL = (
    "layer_norm", "group_norm", "softmax", "mse_loss", "l1_loss", "smooth_l1_loss", "normalize", "norm", "pow", "sum",
    "prod", "exp", "log", "rsqrt",
)  # fmt: skip
"""What autocast does in float32."""


class AsOnCard(TorchFunctionMode):
    """While entered, functions called from Python on meta tensors do what they would do on a card.

    What is asked of numbers that do not exist (`if tensor:`) is answered by yes: they are finite, and there.
    """

    def __init__(self, autocast: torch.dtype | None) -> None:
        """`autocast`: half precision of the pass, or None where nothing is cast."""
        super().__init__()
        self._half = autocast
        self._cast: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or what a card would run in its place."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__bool__" and args[0].device.type == "meta":
            return True
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if self._half is not None and name in IN_HALF:
            args, kwargs = self._each(args, kwargs, self._half)
        elif self._half is not None and name in IN_FULL:
            args, kwargs = self._each(args, kwargs, torch.float32)
        return func(*args, **kwargs)

    def _each(self, args: Any, kwargs: Any, dtype: torch.dtype) -> tuple[list[Any], dict[str, Any]]:
        return [self._to(x, dtype) for x in args], {name: self._to(x, dtype) for name, x in kwargs.items()}

    def _to(self, x: Any, dtype: torch.dtype) -> Any:
        """As autocast casts; of a parameter that is trained one copy is kept until the pass ends."""
        if not isinstance(x, Tensor) or x.device.type != "meta" or not x.is_floating_point() or x.dtype == dtype:
            return x
        if not (x.is_leaf and x.requires_grad and dtype == self._half):
            return x.to(dtype)
        if id(x) not in self._cast:
            self._cast[id(x)] = (x, x.to(dtype))
        return self._cast[id(x)][1]

    def end_of_pass(self) -> None:
        """What leaving autocast does: copies that were kept are let go."""
        self._cast.clear()

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **told: Any,
    ) -> Tensor:
        scale = told.get("scale")
        if self._half is not None:
            query, key, value = (self._to(x, self._half) for x in (query, key, value))
        if attn_mask is None and query.dtype in (torch.float16, torch.bfloat16):
            found = torch.ops.aten._scaled_dot_product_flash_attention(
                query, key, value, dropout_p, is_causal, scale=scale
            )
            return found[0]
        if attn_mask is not None:
            rows = (*query.shape[:3], key.shape[2])
            attn_mask = torch.empty(rows[2:], dtype=query.dtype, device=query.device).expand(rows)
        keeps = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
        found = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, keeps, dropout_p, is_causal, scale=scale
        )
        return found[0]


def run_backward(loss: Tensor) -> None:
    """Backpropagate inside `AsOnCard`: torch's own function would step out of it, and checkpointing's second forward
    pass would be another one than the first.
    """
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )
