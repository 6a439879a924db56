"""Low-rank layers beside the frozen layers of the base."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import NetworkArguments, NetworkConfig
from museum_plugin.museum.lora import LoRALayer, LoRANetwork, target_modules
from museum_plugin.museum.shape import LayerShape, layer_shapes
from tests.tiny_museums import hooks, prediction, shake


def network_of(base: BaseModel, **changes: object) -> LoRANetwork:
    options = {"rank": 2, "alpha": 1.0, "seed": 0, "with_text_encoder": False, **changes}
    return LoRANetwork(base, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [nn.Linear(6, 5), nn.Conv2d(6, 5, 1)], ids=["linear", "convolution"])
def test_a_layer_adds_scale_times_up_times_down(module: nn.Module) -> None:
    layer = LoRALayer(module, rank=3, alpha=1.5, rng=torch.Generator().manual_seed(0))
    shape = (2, 6) if isinstance(module, nn.Linear) else (2, 6, 4, 4)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.count_nonzero(layer(x)) == 0
    with torch.no_grad():
        layer.up.normal_(generator=torch.Generator().manual_seed(2))
    weight = 0.5 * layer.up.double() @ layer.down.double()
    expected = torch.einsum("oi,bi...->bo...", weight, x.double())
    torch.testing.assert_close(layer(x).double(), expected, atol=1e-5, rtol=1e-5)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (2, 0)])
def test_a_layer_on_a_convolution_equals_a_change_of_its_weight(stride: int, padding: int) -> None:
    module = nn.Conv2d(4, 5, 3, stride=stride, padding=padding).double()
    layer = LoRALayer(module, rank=2, alpha=1.0, rng=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        layer.up.normal_(generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    change = layer.low_rank()
    expected = module(x) + layer(x)
    with torch.no_grad():
        module.weight += (change.scale * change.up @ change.down).view_as(module.weight)
    torch.testing.assert_close(module(x), expected)
    assert layer.down.abs().max() <= (4 * 9) ** -0.5


def test_every_target_of_sd_scripts_gets_a_layer(base: BaseModel) -> None:
    """In each of ten transformers: in and out, two attentions of four, a feed-forward net of two."""
    keys = list(network_of(base, with_text_encoder=True).layers)
    unet, text = ([key for key in keys if key.startswith(part)] for part in ("lora_unet_", "lora_te_text_model_"))
    assert (len(unet), len(text), len(keys)) == (10 * 12, 2 * 6, 132)
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_out_0" in unet
    assert "lora_unet_mid_block_attentions_0_proj_in" in unet
    assert "lora_unet_up_blocks_3_attentions_1_transformer_blocks_0_ff_net_0_proj" in unet
    assert "lora_te_text_model_encoder_layers_1_mlp_fc2" in text
    assert not any("resnets" in key or "time_emb" in key for key in keys)
    assert Counter(key.count("lora_") for key in keys) == {1: 132}
    assert [key for key in network_of(base).layers if not key.startswith("lora_unet_")] == []


def test_a_new_network_changes_nothing_and_an_attached_one_leaves_no_hook(base: BaseModel) -> None:
    network, bare = network_of(base, with_text_encoder=True), prediction(base)
    with network.attached() as attached:
        assert attached == hooks(base) == 132
        assert torch.equal(prediction(base), bare)
        shake(network, torch.Generator().manual_seed(0))
        assert not torch.equal(prediction(base), bare)
        network.enabled = False
        assert torch.equal(prediction(base), bare)
    assert hooks(base) == 0
    assert torch.equal(prediction(base), bare)


def test_an_attached_network_equals_merged_weights(base: BaseModel, base_folder: Path) -> None:
    merged, network = load_base(base_folder), network_of(base, rank=3)
    shake(network, torch.Generator().manual_seed(0), size=0.1)
    with torch.no_grad():
        for key, module in network_of(merged, rank=3).targets.items():
            layer = network.layers[key]
            module.weight += (layer.scale * layer.up @ layer.down).view_as(module.weight)
    with network.attached():
        torch.testing.assert_close(prediction(base), prediction(merged), atol=1e-5, rtol=1e-4)


def test_the_start_depends_on_seed_and_key(base: BaseModel) -> None:
    one, other = network_of(base), network_of(base, seed=1)
    again = network_of(base, with_text_encoder=True)
    downs = [layer.down for layer in one.layers.values()]
    assert all(torch.equal(layer.down, again.layers[key].down) for key, layer in one.layers.items())
    assert not any(torch.equal(layer.down, other.layers[key].down) for key, layer in one.layers.items())
    assert len({down.flatten()[0].item() for down in downs}) == len(downs)
    assert all(down.abs().max() <= down.shape[1] ** -0.5 for down in downs)


def test_tensors_have_kohyas_names_and_shapes_and_come_back(base: BaseModel) -> None:
    network = network_of(base, rank=3, alpha=1.5)
    shake(network, torch.Generator().manual_seed(0))
    tensors = {name: tensor.clone() for name, tensor in network.tensors().items()}
    convolution, linear = (
        "lora_unet_mid_block_attentions_0_proj_in",
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"),
    )
    assert tensors[f"{convolution}.lora_down.weight"].shape == (3, 16, 1, 1)
    assert tensors[f"{convolution}.lora_up.weight"].shape == (16, 3, 1, 1)
    assert tensors[f"{linear}.lora_down.weight"].shape == (3, 16)
    assert tensors[f"{linear}.alpha"].item() == 1.5

    other = network_of(base, rank=3, alpha=1.5, seed=9)
    other.load_tensors(tensors)
    found = other.tensors()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_tensors_of_convolutions_have_kohyas_names_and_shapes(base: BaseModel) -> None:
    modules = dict(target_modules(base, with_text_encoder=False, with_convolutions=True))
    shapes = layer_shapes(modules, NetworkConfig(rank=3, alpha=1.5, arguments=NetworkArguments(conv_dim=2)))
    network = network_of(base, rank=3, alpha=1.5, shapes=shapes)
    tensors = network.tensors()
    conv, time = "lora_unet_down_blocks_0_resnets_0_conv1", "lora_unet_down_blocks_0_resnets_0_time_emb_proj"
    assert tensors[f"{conv}.lora_down.weight"].shape == (2, 8, 3, 3)
    assert tensors[f"{conv}.lora_up.weight"].shape == (8, 2, 1, 1)
    assert tensors[f"{conv}.alpha"].item() == 1.0
    assert tensors[f"{time}.lora_down.weight"].shape == (3, 32)
    shake(network, torch.Generator().manual_seed(0))
    other = network_of(base, rank=3, alpha=1.5, shapes=shapes, seed=4)
    other.load_tensors({name: tensor.clone() for name, tensor in network.tensors().items()})
    with network.attached():
        expected = prediction(base)
    with other.attached():
        assert torch.equal(prediction(base), expected)
    plain = network_of(base, rank=3, alpha=1.5)
    assert all(torch.equal(layer.down, other_start) for layer, other_start in _starts(plain, base, shapes))


def _starts(plain: LoRANetwork, base: BaseModel, shapes: dict[str, LayerShape]) -> list[tuple[LoRALayer, Tensor]]:
    """Layers of the transformers start alike, with convolutions or without."""
    wide = network_of(base, rank=3, alpha=1.5, shapes=shapes)
    return [(layer, wide.layers[key].down) for key, layer in plain.layers.items()]


def test_gradients_reach_every_layer_and_never_the_base(base: BaseModel) -> None:
    network = network_of(base, with_text_encoder=True)
    shake(network, torch.Generator().manual_seed(0))
    with network.attached():
        loss: Tensor = _loss(base)
        loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    assert all(p.grad is None for p in (*base.unet.parameters(), *base.text_encoders[0].parameters()))


def _loss(base: BaseModel) -> Tensor:
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return Denoiser(base).predict(noisy, torch.tensor([500]), encode_prompts(base, ["a red cat"])).square().mean()
