"""On the meta device, what a card would do: its autocast, its attention; and yes to whatever is asked of numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from museum_plugin.base.as_on_card import AsOnCard, run_backward
from museum_plugin.base.live_bytes import LiveBytes


def meta(*shape: int, dtype: torch.dtype = torch.float32, grad: bool = False) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=grad)


def test_products_are_half_and_norms_are_full_precision() -> None:
    half = meta(2, 4, 8, 8, dtype=torch.bfloat16)
    with AsOnCard(torch.bfloat16):
        assert F.linear(meta(2, 4), meta(3, 4)).dtype == torch.bfloat16
        assert (meta(2, 4) @ meta(4, 2)).dtype == torch.bfloat16
        assert F.conv2d(meta(1, 4, 8, 8), meta(2, 4, 3, 3)).dtype == torch.bfloat16
        assert F.layer_norm(half, (8,)).dtype == torch.float32
        assert F.group_norm(half, 2).dtype == torch.float32
        assert F.silu(half).dtype == torch.bfloat16


def test_without_autocast_nothing_is_cast() -> None:
    with AsOnCard(None):
        assert F.linear(meta(2, 4), meta(3, 4)).dtype == torch.float32
        assert F.layer_norm(meta(2, 4, dtype=torch.float16), (4,)).dtype == torch.float16


def test_numbers_that_are_there_are_computed_as_ever() -> None:
    x = torch.arange(8.0).view(2, 4)
    with AsOnCard(torch.bfloat16):
        assert F.linear(x, x).equal(x @ x.T)
        assert not torch.zeros(())


def test_of_a_trained_parameter_one_copy_is_kept_for_a_pass() -> None:
    weight, x = nn.Parameter(meta(256, 256)), meta(1, 256)
    with AsOnCard(torch.float16) as card, LiveBytes() as counted:
        counted.leave_out([weight, x])
        outputs = [F.linear(x, weight) for _ in range(3)]
        assert counted.now < 2 * 2 * weight.numel()
        del outputs
        assert counted.now >= 2 * weight.numel()
        card.end_of_pass()
        assert counted.now < weight.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_keeps_no_matrix_of_weights(dtype: torch.dtype, masked: bool) -> None:
    length = 4096
    q, k, v = (meta(1, 2, length, 64, dtype=dtype, grad=True) for _ in range(3))
    mask = meta(1, 1, length, length, dtype=torch.bool) if masked else None
    with AsOnCard(None), LiveBytes() as counted:
        counted.leave_out([x for x in (q, k, v, mask) if x is not None])
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        matrix = length * length * dtype.itemsize
        assert counted.most < matrix / 2 + masked * matrix
        run_backward(out.sum())
    assert out.dtype == dtype
    assert q.grad is not None


def test_checkpointing_runs_its_second_pass_as_the_first() -> None:
    layer, x = nn.Linear(64, 64, device="meta"), meta(1, 2, 512, 64, grad=True)
    held = {}

    def block(x: Tensor) -> Tensor:
        y = layer(F.layer_norm(x, (64,)))
        return F.scaled_dot_product_attention(y, y, y)

    for checkpointed in (False, True):
        with AsOnCard(torch.bfloat16) as card, LiveBytes() as counted:
            counted.leave_out([x, *layer.parameters()])
            y = checkpoint(block, x, use_reentrant=False) if checkpointed else block(x)
            held[checkpointed] = counted.now
            loss = y.float().mean()
            del y
            card.end_of_pass()
            run_backward(loss)
    assert held[True] < held[False] / 2


def test_what_is_asked_of_no_numbers_is_answered_by_yes_and_only_inside() -> None:
    with AsOnCard(None):
        assert torch.isfinite(meta(3)).all()
    with pytest.raises(RuntimeError):
        bool(meta(1))
