"""Swapped blocks of a U-Net: the same numbers, never more than two on the card, all put back as it was found."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.base.carrier import Copies, CopyStream
from museum_plugin.base.frozen import FrozenConv2d, FrozenLinear
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.memory import placed
from museum_plugin.base.precision import store_small
from museum_plugin.base.swap import block_bytes, spread, swappable, swapped
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.lora import LoRANetwork, target_modules
from tests.counted_card import Card
from tests.sdxl_models import write_tiny_sdxl
from tests.tiny_museums import prediction, shake

CPU = torch.device("cpu")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lora_on(base: BaseModel, unet: nn.Module) -> LoRANetwork:
    changed = BaseModel(**{**base.__dict__, "unet": unet})
    network = LoRANetwork(changed, rank=2, alpha=1.0, seed=0, with_text_encoder=False)
    shake(network, torch.Generator().manual_seed(1))
    return network


def forward(unet: Any) -> Tensor:
    return unet(numbers(2, 4, 8, 8), torch.tensor([5, 700]), numbers(2, 77, 16, seed=1)).sample


def passes(base: BaseModel, unet: nn.Module) -> list[Tensor]:
    """Prediction and every gradient of a LoRA."""
    network = lora_on(base, unet)
    with network.attached():
        found = forward(unet)
        return [found.detach(), *torch.autograd.grad(found.square().sum(), list(network.parameters()))]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("precision", "count"), [("auto", 3), ("auto", None), ("bf16", None), ("fp8", 8), ("int8", None), ("nf4", None)]
)
def test_a_lora_learns_as_without_swapping_bit_for_bit(
    base: BaseModel, precision: str, checkpointing: bool, count: int | None
) -> None:
    unet = copy.deepcopy(base.unet)
    if precision != "auto":
        store_small(unet, precision)
    if checkpointing:
        unet.enable_gradient_checkpointing()
        unet.train()
    expected = passes(base, unet)
    blocks, card = swappable(unet), Card()
    with swapped([blocks[n] for n in spread(len(blocks), len(blocks) if count is None else count)], card):
        assert all(torch.equal(a, b) for a, b in zip(passes(base, unet), expected, strict=True))
    assert card.sent
    assert card.lost == 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_never_more_than_two_blocks_are_on_the_card(base: BaseModel, checkpointing: bool) -> None:
    """Also while autograd holds the whole graph."""
    unet, card = copy.deepcopy(base.unet), Card()
    if checkpointing:
        unet.enable_gradient_checkpointing()
        unet.train()
    network, blocks = lora_on(base, unet), swappable(unet)
    sizes = [block_bytes(block) for block in blocks]
    allowed = sum(sorted(sizes)[-2:])
    with swapped(blocks, card), network.attached():
        for _ in range(3):
            found = forward(unet)
            assert 0 < card.bytes <= allowed, "nothing is kept for the backward pass"
            found.sum().backward()
    assert card.most <= allowed < sum(sizes) / 4
    assert card.bytes == 0, "and nothing afterwards"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_each_block_travels_once_for_the_forward_and_once_for_the_backward_pass(
    base: BaseModel, checkpointing: bool
) -> None:
    unet, card = copy.deepcopy(base.unet), Card()
    if checkpointing:
        unet.enable_gradient_checkpointing()
        unet.train()
    network, blocks = lora_on(base, unet), swappable(unet)
    counts = []
    with swapped(blocks, card), network.attached():
        for _ in range(4):
            before = len(card.sent)
            forward(unet).sum().backward()
            counts.append(len(card.sent) - before)
    # the last one is still there when the backward pass begins, and the first one when the next step does
    assert counts[-1] == 2 * len(blocks) - 2


def test_everything_is_put_back_as_it_was_found(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    modules = [(type(module), list(module._parameters)) for module in unet.modules()]
    parameters, values = dict(unet.named_parameters()), copy.deepcopy(unet.state_dict())

    def teach() -> None:
        with swapped(swappable(unet), Copies(CPU)):
            assert len(dict(unet.named_parameters())) < len(parameters)
            forward(unet)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach()
    assert [(type(module), list(module._parameters)) for module in unet.modules()] == modules
    assert list(dict(unet.named_parameters())) == list(parameters)
    assert all(found is parameters[name] for name, found in unet.named_parameters())
    assert all(torch.equal(found, values[name]) for name, found in unet.state_dict().items())


def test_small_weights_are_put_back_small(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    store_small(unet, "fp8")
    expected = forward(unet)
    with swapped(swappable(unet), Copies(CPU)):
        pass
    kinds = {type(module) for module in unet.down_blocks.modules()}
    assert {FrozenLinear, FrozenConv2d} <= kinds
    assert not kinds & {nn.Linear, nn.Conv2d}
    assert torch.equal(forward(unet), expected)


def test_whatever_moves_the_unet_leaves_swapped_weights_where_they_are(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    with swapped(swappable(unet)[:3], Copies(CPU)):
        unet.to("meta")
        assert unet.down_blocks[0].resnets[0].conv1.weight.device == CPU
        assert unet.conv_in.weight.device.type == "meta"


def test_all_targets_of_a_lora_are_still_found(base: BaseModel) -> None:
    found = [dict(target_modules(base, with_text_encoder=False, with_convolutions=True)).keys()]
    with swapped(swappable(base.unet), Copies(CPU)):
        found.append(dict(target_modules(base, with_text_encoder=False, with_convolutions=True)).keys())
    assert found[0] == found[1]


def test_blocks_are_in_the_order_in_which_they_compute(base: BaseModel, tmp_path: Path) -> None:
    for model in (base, load_base(write_tiny_sdxl(tmp_path / "xl"))):
        blocks, order = swappable(model.unet), list[int]()

        def note(block: nn.Module, *_: object, blocks: list[nn.Module] = blocks, order: list[int] = order) -> None:
            order.append(next(number for number, other in enumerate(blocks) if other is block))

        handles = [block.register_forward_hook(note) for block in blocks]
        prediction(model)
        for handle in handles:
            handle.remove()
        assert order == list(range(len(blocks)))
        inside = sum(block_bytes(block) for block in blocks)
        assert inside > 0.8 * sum(p.nbytes for p in model.unet.parameters())


def test_a_run_lays_its_base_out_and_leaves_it_whole(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    own = BaseModel(**{**base.__dict__, "unet": unet})
    asked = BaseConfig(Path(), precision="fp8", blocks_to_swap=4)
    with placed(own, asked, CPU, torch.float32) as found:
        away = [module for module in unet.modules() if type(getattr(module, "stored", None)).__name__ == "Away"]
        inside = prediction(found)
    assert len(away) == sum(len([m for m in block.modules() if hasattr(m, "stored")]) for block in _chosen(unet, 4))
    assert torch.equal(prediction(own), inside)


def _chosen(unet: nn.Module, count: int) -> list[nn.Module]:
    blocks = swappable(unet)
    return [blocks[number] for number in spread(len(blocks), count)]


def test_a_base_without_swapping_is_placed_whole(base: BaseModel) -> None:
    own = BaseModel(**{**base.__dict__, "unet": copy.deepcopy(base.unet)})
    with placed(own, BaseConfig(Path()), CPU, torch.bfloat16) as found:
        assert found.unet.dtype == torch.bfloat16
        assert not any(hasattr(module, "stored") for module in found.unet.modules())


@pytest.mark.parametrize("count", [-1, 1, 2])
def test_a_number_that_saves_nothing_is_refused_at_birth(count: int) -> None:
    with pytest.raises(ConfigError, match=f"blocks_to_swap: found {count}, allowed: auto, 0, or 3 and more"):
        BaseConfig(Path(), blocks_to_swap=count)


def test_more_blocks_than_there_are_are_refused(base: BaseModel) -> None:
    known = len(swappable(base.unet))
    with (
        pytest.raises(ConfigError, match=f"blocks_to_swap: found 99, but the U-Net of .* has {known} blocks"),
        placed(base, BaseConfig(Path(), blocks_to_swap=99), CPU, torch.float32),
    ):
        pass


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_card_gives_the_same_numbers_over_many_steps(base: BaseModel, checkpointing: bool) -> None:
    unet = copy.deepcopy(base.unet)
    if checkpointing:
        unet.enable_gradient_checkpointing()
        unet.train()
    device = torch.device("cuda", 0)

    def run() -> list[Tensor]:
        network = lora_on(base, unet).to(device)
        found = []
        with network.attached():
            for step in range(20):
                x, text = numbers(2, 4, 8, 8, seed=step).to(device), numbers(2, 77, 16, seed=step).to(device)
                pred = unet(x, torch.tensor([5, 700], device=device), text).sample
                found += [pred.detach(), *torch.autograd.grad(pred.square().sum(), list(network.parameters()))]
        return [tensor.cpu() for tensor in found]

    with swapped(swappable(unet), CopyStream(device)):
        unet.to(device)
        found = run()
    unet.to(device)
    for one, other in zip(found, run(), strict=True):
        torch.testing.assert_close(one, other)
