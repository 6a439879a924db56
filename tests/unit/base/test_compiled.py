"""A U-Net whose transformer blocks are compiled gives what it gives otherwise, under whatever LoRA is attached."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.base import compiled as module
from museum_plugin.base.compiled import check_compiler, compiled
from museum_plugin.base.load import BaseModel
from museum_plugin.base.memory import placed
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.lora import LoRANetwork
from tests.tiny_museums import shake

# torch hides this one from users, but only where it is no error
pytestmark = pytest.mark.filterwarnings(r"ignore:The \.grad attribute of a Tensor that is not a leaf:UserWarning")
BACKEND = "eager"
"""Follows and divides the code as every backend does, and compiles nothing of it, so that the bits stay the same."""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lora_on(base: BaseModel, unet: nn.Module, seed: int = 1) -> LoRANetwork:
    changed = BaseModel(**{**base.__dict__, "unet": unet})
    network = LoRANetwork(changed, rank=2, alpha=1.0, seed=0, with_text_encoder=False)
    shake(network, torch.Generator().manual_seed(seed))
    return network


def forward(unet: Any, side: int = 8) -> Tensor:
    return unet(numbers(2, 4, side, side), torch.tensor([5, 700]), numbers(2, 77, 16, seed=1)).sample


def lesson(base: BaseModel, unet: nn.Module) -> list[Tensor]:
    """All that happens to a LoRA while it learns: gradients, passes without it, another one beside it."""
    network, other = lora_on(base, unet), lora_on(base, unet, seed=2)
    found = []
    with network.attached():
        pred = forward(unet)
        found += [pred.detach(), *torch.autograd.grad(pred.square().mean(), list(network.parameters()))]
        with torch.no_grad():
            found.append(forward(unet))
            network.enabled = False
            found.append(forward(unet))
            network.enabled = True
            with other.attached():
                found.append(forward(unet))
            found.append(forward(unet))
    with torch.no_grad():
        found.append(forward(unet))
    return found


def test_a_lesson_gives_the_same_numbers(base: BaseModel) -> None:
    """Of one block, to be quick; a run has all of them compiled."""
    unet = copy.deepcopy(base.unet)
    unet.enable_gradient_checkpointing()
    expected = lesson(base, unet)
    graphs = torch._dynamo.utils.counters["stats"]
    graphs.clear()
    with compiled(unet.mid_block, BACKEND) as blocks:
        found = lesson(base, unet)
    assert blocks == 1
    assert graphs["unique_graphs"] > 0, "nothing was compiled"
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_pictures_of_another_size_compile_nothing_anew(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    graphs = torch._dynamo.utils.counters["stats"]
    with compiled(unet.down_blocks[0], BACKEND), torch.no_grad():
        forward(unet, 16)
        known = graphs["unique_graphs"]
        forward(unet, 24)
        forward(unet, 32)
    assert graphs["unique_graphs"] == known > 0


def test_afterwards_nothing_is_compiled(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    before = torch._dynamo.config.recompile_limit, torch._dynamo.config.skip_nnmodule_hook_guards
    with pytest.raises(KeyboardInterrupt), compiled(unet, BACKEND):
        raise KeyboardInterrupt
    assert not any(part._compiled_call_impl for part in unet.modules())
    assert before == (torch._dynamo.config.recompile_limit, torch._dynamo.config.skip_nnmodule_hook_guards)


def test_what_cannot_be_compiled_is_told_in_a_line(base: BaseModel) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the compiler was killed")

    unet: Any = copy.deepcopy(base.unet)
    name: Any = broken
    with (
        pytest.raises(ConfigError, match="torch_compile: the U-Net could not be compiled; leave it out") as refused,
        compiled(unet, name),
        torch.no_grad(),
    ):
        forward(unet)
    assert "\n" not in str(refused.value)
    forward(unet)


def test_a_run_has_its_blocks_compiled_by_what_it_names(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    own, asked = BaseModel(**{**base.__dict__, "unet": copy.deepcopy(base.unet)}), list[str]()
    monkeypatch.setattr(nn.Module, "compile", lambda _block, *, dynamic, backend: asked.append(f"{backend} {dynamic}"))
    for told in (BaseConfig(Path()), BaseConfig(Path(), torch_compile=True, dynamo_backend="aot_eager")):
        with placed(own, told, torch.device("cpu"), torch.float32):
            pass
    blocks = sum(type(part).__name__ == "BasicTransformerBlock" for part in own.unet.modules())
    assert asked == ["aot_eager True"] * blocks


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dynamo_backend": "tensort"}, "allowed with torch_compile: inductor, aot_eager, eager"),
        ({"precision": "fp8"}, "cannot go with base_precision"),
        ({"blocks_to_swap": 3}, "cannot go with blocks_to_swap"),
    ],
)
def test_what_cannot_be_compiled_is_refused_at_birth(given: dict[str, Any], told: str) -> None:
    BaseConfig(Path(), **given)
    with pytest.raises(ConfigError, match=told):
        BaseConfig(Path(), torch_compile=True, **given)


def test_a_missing_compiler_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    check_compiler("inductor")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    check_compiler("eager")
    with pytest.raises(ConfigError, match=r"C\+\+ compiler"):
        check_compiler("inductor")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install triton"):
        check_compiler("inductor")
