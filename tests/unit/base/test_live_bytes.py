"""Counting the bytes of tensors that are alive: each storage once, from when it is made until nothing refers to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from museum_plugin.base.live_bytes import LiveBytes, attention_workspace, own_bytes, rounded

KIB = 1024


def block() -> Tensor:
    """1 KiB."""
    return torch.empty(256, device="meta")


def test_the_peak_is_the_most_that_was_alive_at_once() -> None:
    with LiveBytes() as counted:
        first = block()
        second = block()
        del first
        third = block()
        assert counted.now == 2 * KIB
        fourth = block()
        del second, third, fourth
    assert (counted.now, counted.most) == (0, 3 * KIB)


def test_views_and_writing_in_place_take_nothing() -> None:
    with LiveBytes() as counted:
        whole = block()
        half = whole[:128].view(2, 64)
        whole.add_(1)
        del whole
        assert counted.now == KIB  # a view keeps what it looks at
        del half
    assert counted.now == 0


def test_what_was_there_before_does_not_count_and_neither_do_its_views() -> None:
    weight = block()
    with LiveBytes() as counted:
        counted.leave_out([weight])
        assert weight.t() is not None
        assert counted.now == 0
        copy = weight.clone()
    assert counted.most == KIB
    assert copy.shape == weight.shape


def test_only_tensors_of_the_device_asked_for_count() -> None:
    with LiveBytes("cpu") as counted:
        kept = (block(), torch.empty(256))
    assert counted.most == KIB
    assert len(kept) == 2


def test_a_tensor_takes_whole_blocks() -> None:
    assert [rounded(count) for count in (0, 1, 512, 513)] == [0, 512, 512, 1024]
    whole = torch.empty(200, device="meta")
    assert own_bytes([whole, whole[:10], torch.empty(1, device="meta")]) == 1024 + 512


def test_what_autograd_keeps_is_counted_until_the_backward_pass() -> None:
    x = torch.ones(256, requires_grad=True)
    with LiveBytes("cpu") as counted:
        counted.leave_out([x])
        y = x.exp().exp()
        assert counted.now == 2 * KIB
        y.sum().backward()
        del y
        assert counted.now == KIB  # the gradient
    assert counted.most > 2 * KIB


def test_the_backward_pass_of_attention_needs_float32_sums_of_half_precision_queries() -> None:
    assert attention_workspace((2, 3, 100, 8)) == 4 * 2 * 3 * 128 * 8
    most = {}
    for dtype in (torch.float32, torch.bfloat16):
        q, k, v = (torch.empty(1, 2, 256, 64, dtype=dtype, device="meta", requires_grad=True) for _ in range(3))
        with LiveBytes() as counted:
            counted.leave_out([q, k, v])
            out = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True)[0]
            torch.autograd.backward(out, torch.empty_like(out))
        most[dtype] = counted.most
    assert most[torch.bfloat16] > most[torch.float32] / 2 + attention_workspace((1, 2, 256, 64)) / 2


@pytest.mark.parametrize(
    "work",
    [
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: F.group_norm(x[:, :, None], 2),
        lambda x: F.gelu(x + 2 * x),
        lambda x: torch.addmm(x, x, x.t()) / 3,
        lambda x: (x.t() + x) * x[0],
    ],
)
def test_results_are_shaped_as_they_would_be_with_numbers(work: Callable[[Tensor], Tensor]) -> None:
    found = []
    for device in ("cpu", "meta"):
        x = torch.ones(4, 4, device=device, requires_grad=True)
        with LiveBytes(device):
            twice = [work(x), work(x)]  # the second one may be remembered
            torch.autograd.backward(twice[1], torch.ones_like(twice[1]))
        found.append([(y.shape, y.stride(), y.dtype) for y in (*twice, x.grad)])
    assert found[0] == found[1]
