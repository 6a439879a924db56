"""Which modules get a layer, and how wide: counts and names are sd-scripts' own."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel

from museum_plugin.base.family import SD1
from museum_plugin.base.load import BaseModel
from museum_plugin.config.schema import NetworkArguments, NetworkConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.block_weights import BlockCounts, block_weights, preset_weights
from museum_plugin.museum.lora import target_modules
from museum_plugin.museum.shape import LayerShape, block_of, layer_shapes

UNET = "lora_unet_"


def config(*, rank: int = 4, alpha: float = 2.0, **arguments: object) -> NetworkConfig:
    return NetworkConfig(rank=rank, alpha=alpha, arguments=NetworkArguments(**arguments))  # type: ignore[arg-type]


def shapes_of(base: BaseModel, asked: NetworkConfig, *, text: bool = False) -> dict[str, LayerShape]:
    convolutions = asked.arguments.with_convolutions
    return layer_shapes(dict(target_modules(base, with_text_encoder=text, with_convolutions=convolutions)), asked)


@pytest.fixture(scope="module")
def sd1() -> BaseModel:
    """The real SD1 U-Net without its numbers."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return SimpleNamespace(unet=unet, family=SD1)  # type: ignore[return-value]


def test_sd1_has_192_layers_and_278_with_convolutions(sd1: BaseModel) -> None:
    plain, locon = shapes_of(sd1, config()), shapes_of(sd1, config(conv_dim=3, conv_alpha=1.0))
    assert (len(plain), len(locon)) == (192, 278)
    assert plain.items() <= locon.items()
    added = {key.rsplit("_", 1)[-1] for key in set(locon) - set(plain)}
    assert added == {"conv1", "conv2", "proj", "shortcut", "conv"}
    ranks = Counter(shape.rank for shape in locon.values())
    assert ranks == {4: 192 + 22 + 14, 3: 2 * 22 + 6}


def test_convolutions_of_the_tiny_base(base: BaseModel) -> None:
    """9 down and up blocks' ResNets and the middle's two; a shortcut where the width changes; six samplers."""
    shapes = shapes_of(base, config(conv_dim=3), text=True)
    tail = Counter(key.split("resnets_")[-1].partition("_")[2] for key in shapes if "resnets" in key)
    assert tail["conv1"] == tail["conv2"] == tail["time_emb_proj"] == 4 + 2 + 8
    assert sum("samplers" in key for key in shapes) == 6
    assert shapes["lora_unet_down_blocks_0_downsamplers_0_conv"] == (3, 1.0)
    assert shapes["lora_unet_down_blocks_1_resnets_0_conv_shortcut"] == (4, 2.0)
    assert shapes["lora_unet_mid_block_resnets_1_time_emb_proj"] == (4, 2.0)
    assert shapes["lora_te_text_model_encoder_layers_1_mlp_fc2"] == (4, 2.0)
    assert shapes_of(base, config(conv_dim=3, conv_alpha=1.5))["lora_unet_mid_block_resnets_0_conv1"] == (3, 1.5)


@pytest.mark.parametrize(
    ("key", "block"),
    [
        ("down_blocks_0_attentions_0_proj_in", 1),
        ("down_blocks_0_downsamplers_0_conv", 3),
        ("down_blocks_2_resnets_1_conv1", 8),
        ("down_blocks_3_resnets_1_conv2", 11),
        ("mid_block_attentions_0_proj_in", 12),
        ("mid_block_resnets_1_conv1", 12),
        ("up_blocks_0_resnets_0_conv1", 13),
        ("up_blocks_1_upsamplers_0_conv", 18),
        ("up_blocks_3_attentions_2_proj_out", 24),
        ("input_blocks_4_1_proj_in", 5),
        ("middle_block_1_proj_in", 11),
        ("output_blocks_8_0_in_layers_2", 21),
    ],
)
def test_blocks_are_numbered_as_in_sd_scripts(key: str, block: int) -> None:
    assert block_of(UNET + key) == block


def test_a_module_outside_the_blocks_has_no_number() -> None:
    with pytest.raises(ValueError, match="no module of a U-Net block"):
        block_of("lora_unet_conv_in")


def test_each_block_has_its_own_rank(sd1: BaseModel) -> None:
    dims = tuple(range(25))
    shapes = shapes_of(sd1, config(block_dims=dims, block_alphas=(8.0,) * 24 + (0.0,)))
    assert all(shape.rank == block_of(key) for key, shape in shapes.items())
    assert shapes["lora_unet_down_blocks_0_attentions_0_proj_in"] == (1, 8.0)
    assert shapes["lora_unet_up_blocks_3_attentions_2_proj_in"] == (24, 24.0), "alpha 0 stands for the rank"
    assert len(shapes) == 192
    without_middle = shapes_of(sd1, config(block_dims=(4,) * 12 + (0,) + (4,) * 12))
    assert len(without_middle) == 192 - 12
    assert set(without_middle.values()) == {(4, 2.0)}


def test_convolutions_have_ranks_of_their_own_in_each_block(sd1: BaseModel) -> None:
    shapes = shapes_of(sd1, config(block_dims=(4,) * 25, conv_block_dims=tuple(range(25)), conv_alpha=3.0))
    assert shapes["lora_unet_up_blocks_1_upsamplers_0_conv"] == (18, 3.0)
    assert shapes["lora_unet_up_blocks_1_resnets_0_time_emb_proj"] == (4, 2.0)
    alphas = tuple(float(i) for i in range(25))
    asked = config(block_dims=(4,) * 25, conv_block_dims=(2,) * 25, conv_block_alphas=alphas)
    assert shapes_of(sd1, asked)["lora_unet_down_blocks_2_resnets_1_conv1"] == (2, 8.0)


def test_a_block_that_does_not_learn_has_no_layers(sd1: BaseModel) -> None:
    asked = config(down_lr_weight="zeros", mid_lr_weight=(0.1,), up_lr_weight=(1.0,) * 12, block_lr_zero_threshold=0.1)
    assert {key.split("_")[2] for key in shapes_of(sd1, asked)} == {"up"}
    with pytest.raises(ConfigError, match="no module is left"):
        shapes_of(sd1, config(down_lr_weight="zeros", mid_lr_weight=(0.0,), up_lr_weight="zeros"))


def test_numbers_for_another_family_are_refused(sd1: BaseModel) -> None:
    with pytest.raises(ConfigError, match="block_dims: found 23 numbers, but this U-Net has 25 blocks"):
        shapes_of(sd1, config(block_dims=(4,) * 23))
    with pytest.raises(ConfigError, match="mid_lr_weight: found 3 numbers, but this U-Net has 1 there"):
        shapes_of(sd1, config(mid_lr_weight=(1.0,) * 3))


def test_factors_of_the_blocks() -> None:
    def factors(counts: BlockCounts = BlockCounts.SD1, **given: object) -> tuple[float, ...]:
        return block_weights(NetworkArguments(**given), counts)  # type: ignore[arg-type]

    assert factors() == (1.0,) * 25
    assert factors(BlockCounts.SDXL) == (1.0,) * 23
    short = factors(down_lr_weight=(0.5, 0.0), mid_lr_weight=(2.0,))
    assert short == (0.5, 0.0, *(1.0,) * 10, 2.0, *(1.0,) * 12)
    assert factors(up_lr_weight=(0.2, 0.3), block_lr_zero_threshold=0.2)[13:15] == (0.0, 0.3)
    assert factors(BlockCounts.SDXL, mid_lr_weight=(2.0,))[9:14] == (1.0, 2.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sine", [0.0, 0.5, 0.8660254, 1.0]),
        ("cosine", [1.0, 0.8660254, 0.5, 0.0]),
        ("linear+.5", [0.5, 0.8333333, 1.1666667, 1.5]),
        ("reverse_linear", [1.0, 2 / 3, 1 / 3, 0.0]),
        ("zeros+0.25", [0.25] * 4),
    ],
)
def test_presets_are_curves(text: str, expected: list[float]) -> None:
    assert preset_weights(text, 4) == pytest.approx(expected)
