"""A frozen U-Net whose weights are stored in few bits: how far it is off, what it takes, how a LoRA learns on it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from museum_plugin.base import memory
from museum_plugin.base.frozen import FrozenConv2d, FrozenLinear, tensors_of
from museum_plugin.base.live_bytes import LiveBytes
from museum_plugin.base.load import BaseModel
from museum_plugin.base.memory import check_precision, fit_unet, placed
from museum_plugin.base.precision import store, store_small
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.lora import LoRANetwork, target_modules
from tests.tiny_museums import prediction, shake

LOW = ("fp16", "bf16", "fp8", "int8", "nf4")
LARGEST_ERROR = {"fp16": 2**-11, "bf16": 2**-8, "fp8": 2**-4}
"""Of a number, as a share of itself: half a step of its mantissa."""
BYTES = {"fp16": 0.5, "bf16": 0.5, "fp8": 0.25, "int8": 0.25, "nf4": 0.125}
"""Of the float32 weights' bytes, without scales."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("precision", LARGEST_ERROR)
def test_every_number_is_as_near_as_its_mantissa_allows(precision: str) -> None:
    weight = numbers(16, 64).sign() * torch.linspace(1, 8, 16 * 64).view(16, 64)  # no row has very small ones
    found = store(weight, precision).whole()
    assert ((found - weight).abs() / weight.abs()).max() <= LARGEST_ERROR[precision] * (1 + 1e-3)
    assert not torch.equal(found, weight)


def test_int8_is_off_by_half_a_step_of_its_row_at_most() -> None:
    weight = numbers(16, 64) * torch.logspace(-3, 3, 16)[:, None]
    error = (store(weight, "int8").whole() - weight).abs()
    assert (error <= weight.abs().amax(dim=1, keepdim=True) / 127 / 2 * (1 + 1e-4)).all()


def test_nf4_is_off_by_a_tenth_or_so() -> None:
    weight = numbers(64, 128)
    error = (store(weight, "nf4").whole() - weight).norm() / weight.norm()
    assert 0.05 < error < 0.12


@pytest.mark.parametrize("precision", ["fp8", "int8"])
def test_rows_of_any_size_are_finite_and_keep_their_direction(precision: str) -> None:
    weight = torch.cat([numbers(1, 32) * 1e30, numbers(1, 32) * 1e-30, torch.zeros(1, 32)])
    found = store(weight, precision).whole()
    assert found.isfinite().all()
    one, other = (F.normalize(rows.double(), dim=1, eps=1e-60) for rows in (found[:2], weight[:2]))
    assert ((one * other).sum(dim=1) > 0.99).all()
    assert torch.equal(found[2], weight[2])


@pytest.mark.parametrize("precision", LOW)
def test_a_weight_comes_back_in_its_own_shape_and_type(precision: str) -> None:
    weight = numbers(8, 4, 3, 3).bfloat16()
    stored = store(weight, precision)
    assert (stored.whole().shape, stored.whole().dtype) == (weight.shape, weight.dtype)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="fp4"):
        store(numbers(2, 2), "fp4")


@pytest.mark.parametrize("precision", LOW)
def test_the_weights_take_less_memory(base: BaseModel, precision: str) -> None:
    unet = copy.deepcopy(base.unet)
    before = sum(p.nbytes for p in unet.parameters())
    taken = store_small(unet, precision)
    small = [module for module in unet.modules() if isinstance(module, FrozenLinear | FrozenConv2d)]
    whole = sum(4 * module.weight.numel() for module in small)
    assert before - sum(p.nbytes for p in unet.parameters()) == whole > 0.9 * before
    assert taken == sum(module.stored.nbytes for module in small)
    assert BYTES[precision] * whole <= taken < (BYTES[precision] + 0.08) * whole


@pytest.mark.parametrize("precision", LOW)
def test_a_lora_learns_as_on_the_same_rounded_weights_in_float64(base: BaseModel, precision: str) -> None:
    """Prediction and every gradient of the whole U-Net against float64 on the weights made whole again."""
    small = copy.deepcopy(base.unet)
    store_small(small, precision)
    exact = copy.deepcopy(base.unet).double()
    for name, module in small.named_modules():
        if isinstance(module, FrozenLinear | FrozenConv2d):
            exact.get_submodule(name).weight.copy_(module.weight.double())

    def gradients(unet: nn.Module, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        changed = BaseModel(**{**base.__dict__, "unet": unet})
        network = LoRANetwork(changed, rank=2, alpha=1.0, seed=0, with_text_encoder=False)
        shake(network, torch.Generator().manual_seed(1))
        network.to(dtype)
        with network.attached():
            found = unet(
                numbers(2, 4, 8, 8).to(dtype), torch.tensor([5, 700]), numbers(2, 77, 16, seed=1).to(dtype)
            ).sample
            return found.detach(), list(torch.autograd.grad(found.square().sum(), list(network.parameters())))

    pred, found = gradients(small, torch.float32)
    expected_pred, expected = gradients(exact, torch.float64)
    torch.testing.assert_close(pred.double(), expected_pred, rtol=1e-4, atol=1e-5)
    largest = max(gradient.abs().max().item() for gradient in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-5 * largest)


def test_all_targets_of_a_lora_are_still_found(base: BaseModel) -> None:
    unet = copy.deepcopy(base.unet)
    store_small(unet, "int8")
    small = BaseModel(**{**base.__dict__, "unet": unet})
    keys = [dict(target_modules(b, with_text_encoder=False, with_convolutions=True)).keys() for b in (base, small)]
    assert keys[0] == keys[1]


def test_no_whole_weight_is_kept_for_the_backward_pass() -> None:
    layer = nn.Sequential(nn.Linear(64, 64)).requires_grad_(False)
    unet = nn.Module()
    unet.down_blocks, unet.mid_block, unet.up_blocks = layer, nn.Sequential(), nn.Sequential()
    store_small(unet, "int8")
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(numbers(2, 64).requires_grad_())
    assert not kept


def test_what_is_stored_small_comes_to_the_card_small(base: BaseModel) -> None:
    most, card = {}, torch.device("meta")
    for precision in ("auto", "fp8"):
        own = BaseModel(
            **{**base.__dict__, "unet": copy.deepcopy(base.unet), "vae": nn.Linear(1, 1), "text_encoders": ()}
        )
        with LiveBytes("meta") as counted, placed(own, BaseConfig(Path(), precision=precision), card, torch.float32):
            assert {tensor.device for tensor in tensors_of(own.unet)} == {card}
        most[precision] = counted.most
    assert most["fp8"] < 0.7 * most["auto"]


def test_more_bits_are_nearer(base: BaseModel) -> None:
    whole, errors = prediction(base), []
    for precision in ("fp16", "bf16", "fp8", "nf4"):
        unet = copy.deepcopy(base.unet)
        fit_unet(unet, BaseConfig(Path(), precision=precision))
        found = prediction(BaseModel(**{**base.__dict__, "unet": unet}))
        errors.append(((found - whole).norm() / whole.norm()).item())
    assert 0 < errors[0] < errors[1] < errors[2] < errors[3] < 0.3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"precision": "fp4"}, "allowed: auto, fp32"),
        ({"precision": "fp32", "mixed_precision": "bf16"}, "mixed_precision 'bf16'"),
        ({"precision": "fp16", "mixed_precision": "bf16"}, "rounded twice"),
        ({"precision": "fp8", "channels_last": True}, "opt_channels_last"),
    ],
)
def test_what_cannot_go_together_is_refused_at_birth(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        BaseConfig(Path(), **given)  # type: ignore[arg-type]


def test_nf4_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_precision(BaseConfig(Path(), precision="nf4"))
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        check_precision(BaseConfig(Path(), precision="nf4"))
    check_precision(BaseConfig(Path(), precision="fp8"))
