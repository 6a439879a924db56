"""Second moments of what a convolution's kernel sees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from museum_plugin.methods import moments
from museum_plugin.methods.moments import _energy, _recording


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_a_convolutions_moment_gives_the_energy_of_its_output(stride: int) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(3, 4, 3, stride=stride, padding=1, bias=False)
    x = torch.randn(2, 3, 8, 8)
    with _recording({"key": module}) as seen:
        output = module(x)
    total, count = seen["key"]
    assert total.shape == (27, 27)
    assert count == output.shape[0] * output.shape[2] * output.shape[3]
    assert _energy(module, total / count) == pytest.approx(output.square().sum(1).mean().item(), rel=1e-5)
    assert not module._forward_pre_hooks


def test_the_widest_layers_of_known_models_are_kept_and_wide_convolutions_are_not() -> None:
    assert 4 * 1280 <= moments._WIDEST < 9 * 1280
