"""What gradient checkpointing keeps leaves the card, and nothing else does; the gradients are the same bit for bit."""

from __future__ import annotations

import copy
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.base import memory
from museum_plugin.base.load import BaseModel
from museum_plugin.base.memory import checkpoint_in_host_memory, fit_unet
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.lora import LoRANetwork
from tests.tiny_museums import shake


class Host:
    """Host memory apart from the card's, which counts what goes there and what comes back.

    Empty tensors do not count: torch 2.10 keeps one for each block.
    """

    def __init__(self) -> None:
        self.went: list[Tensor] = []
        self.came = 0
        self.pinned: list[bool] = []

    def save_on_cpu(self, *, pin_memory: bool) -> torch.autograd.graph.saved_tensors_hooks:
        self.pinned.append(pin_memory)

        def pack(tensor: Tensor) -> Tensor:
            kept = tensor.detach().clone()
            self.went += [kept] if kept.numel() else []
            return kept

        def unpack(kept: Tensor) -> Tensor:
            self.came += kept.numel() > 0
            return kept.clone()

        return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(memory.torch.autograd.graph, "save_on_cpu", host.save_on_cpu)
    return host


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    """Something with a tensor in the middle, which must not be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(x).exp() + shift)
        return found


def test_only_the_inputs_of_a_block_are_kept_and_they_leave_the_card(host: Host) -> None:
    block, shift = Block(), numbers(8)
    x = numbers(2, 4).requires_grad_() * 2
    seen, value = weakref.ref(x), x.detach().clone()
    y = checkpoint_in_host_memory(block, x, shift)
    del x
    assert seen() is None, "nothing of the graph holds it"
    assert [tuple(tensor.shape) for tensor in host.went] == [(2, 4), (8,)]
    assert torch.equal(host.went[0], value)
    y.sum().backward()
    assert host.came == 2


def test_nothing_leaves_where_no_gradient_is_asked_for(host: Host) -> None:
    with torch.no_grad():
        checkpoint_in_host_memory(Block(), numbers(2, 4), numbers(8))
    assert not host.went


@pytest.mark.parametrize("there", [True, False])
def test_host_memory_is_pinned_where_there_is_a_card(host: Host, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    block: Any = Block()
    with torch.no_grad():
        checkpoint_in_host_memory(block, numbers(2, 4), numbers(8))
    assert host.pinned == [there]


def gradients(base: BaseModel, unet: nn.Module) -> list[Tensor]:
    network = LoRANetwork(
        BaseModel(**{**base.__dict__, "unet": unet}), rank=2, alpha=1.0, seed=0, with_text_encoder=False
    )
    shake(network, torch.Generator().manual_seed(1))
    with network.attached():
        found = unet(numbers(2, 4, 8, 8), torch.tensor([5, 700]), numbers(2, 77, 16, seed=1)).sample
        return [found.detach(), *torch.autograd.grad(found.square().sum(), list(network.parameters()))]


def test_a_lora_learns_as_with_checkpointing_bit_for_bit(base: BaseModel, host: Host) -> None:
    found = []
    for offloaded in (False, True):
        unet = copy.deepcopy(base.unet)
        asked = BaseConfig(Path(), gradient_checkpointing=True, cpu_offload_checkpointing=offloaded)
        fit_unet(unet, asked)
        unet.train()
        found.append(gradients(base, unet))
        assert bool(host.went) == offloaded
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert host.came == len(host.went) - 2, "all but the inputs of the first ResNet, before which there is no LoRA"


def test_it_is_refused_without_checkpointing() -> None:
    with pytest.raises(ConfigError, match="cpu_offload_checkpointing: needs gradient_checkpointing"):
        BaseConfig(Path(), cpu_offload_checkpointing=True)
