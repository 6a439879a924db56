"""kohya's names for the LoRA of the real SDXL: rules, and the way there and back through diffusers."""

from __future__ import annotations

import pytest
from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

from museum_plugin.base.family import SDXL
from museum_plugin.base.load import BaseModel
from museum_plugin.museum.block_weights import BlockCounts
from museum_plugin.museum.keys import original_path
from museum_plugin.museum.lora import target_modules
from museum_plugin.museum.lora_names import place_of
from museum_plugin.museum.shape import block_counts, block_of
from tests.full_shapes import full_shape


@pytest.fixture(scope="module")
def sdxl() -> BaseModel:
    """Without its numbers."""
    return full_shape("sdxl")


def test_blocks_have_their_numbers(sdxl: BaseModel) -> None:
    locon = dict(target_modules(sdxl, with_text_encoder=False, with_convolutions=True))
    assert block_counts(locon) is BlockCounts.SDXL
    assert {block_of(key) for key in locon} == set(range(2, 22))


def test_diffusers_finds_every_module_by_its_name(sdxl: BaseModel) -> None:
    """Its own reader of LoRA files leads each name back to the module that it is of."""
    paths = {module: path for path, module in sdxl.unet.named_modules()}
    found = {f"{key}.alpha": paths[module] for key, module in target_modules(sdxl, with_text_encoder=False)}

    back = _maybe_map_sgm_blocks_to_diffusers(dict(found), sdxl.unet.config)

    assert len(back) == 722
    sides = {"down_blocks": "input_blocks", "mid_block": "middle_block", "up_blocks": "output_blocks"}
    for key, path in back.items():
        side, _, rest = path.partition(".")
        assert key == f"lora_unet_{sides[side]}_{rest.replace('.', '_')}.alpha"


@pytest.mark.parametrize(
    ("path", "original"),
    [
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("down_blocks.2.resnets.1.time_emb_proj", "input_blocks.8.0.emb_layers.1"),
        ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
        ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("up_blocks.2.resnets.2.conv_shortcut", "output_blocks.8.0.skip_connection"),
        ("up_blocks.1.resnets.0.conv1", "output_blocks.3.0.in_layers.2"),
    ],
)
def test_paths_of_the_original_code(path: str, original: str) -> None:
    assert original_path(path) == original


def test_what_is_no_block_has_no_such_path() -> None:
    with pytest.raises(ValueError, match="no module of a U-Net block: 'conv_in'"):
        original_path("conv_in")


@pytest.mark.parametrize(
    ("module", "key"),
    [
        (
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        ),
        ("unet.mid_block.resnets.1.conv1", "lora_unet_middle_block_2_in_layers_2"),
        ("unet.conv_in", "lora_unet_conv_in"),
        ("text_encoder_2.text_model.encoder.layers.3.mlp.fc1", "lora_te2_text_model_encoder_layers_3_mlp_fc1"),
        ("lora_unet_output_blocks_2_2_conv", "lora_unet_output_blocks_2_2_conv"),
        ("lora_unet_mid_block_resnets_1_time_emb_proj", "lora_unet_middle_block_2_emb_layers_1"),
        ("lora_unet_conv_in", "lora_unet_conv_in"),
        ("lora_unet_mid_block_resnets_1_norm1", "lora_unet_mid_block_resnets_1_norm1"),
        ("lora_te2_text_model_encoder_layers_3_mlp_fc1", "lora_te2_text_model_encoder_layers_3_mlp_fc1"),
    ],
)
def test_modules_that_others_name_after_diffusers_have_the_same_keys(module: str, key: str) -> None:
    assert place_of(module, SDXL.text_parts).key == key


def test_every_module_is_found_by_its_underscored_name_in_diffusers(sdxl: BaseModel) -> None:
    paths = {module: path for path, module in sdxl.unet.named_modules()}
    modules = target_modules(sdxl, with_text_encoder=False, with_convolutions=True)
    named = {f"lora_unet_{paths[module].replace('.', '_')}": key for key, module in modules}
    assert len(named) == 788
    assert {name: place_of(name, SDXL.text_parts).key for name in named} == named
    assert all(place_of(name, ("te",)).key == name for name in named)


def test_with_one_text_encoder_the_names_of_diffusers_stay() -> None:
    assert place_of("unet.mid_block.resnets.1.conv1", ("te",)).key == "lora_unet_mid_block_resnets_1_conv1"
