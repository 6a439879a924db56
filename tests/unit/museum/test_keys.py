"""kohya's names of LoRA modules."""

from __future__ import annotations

import re

import pytest
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from museum_plugin.museum.keys import kohya_key, tensor_names

ATTENTION = "down_blocks.0.attentions.1.transformer_blocks.0.attn1"


@pytest.mark.parametrize(
    ("part", "path", "key"),
    [
        ("unet", "mid_block.attentions.0.proj_in", "lora_unet_mid_block_attentions_0_proj_in"),
        (
            "unet",
            f"{ATTENTION}.to_out.0",
            "lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0",
        ),
        ("te", "encoder.layers.0.self_attn.q_proj", "lora_te_text_model_encoder_layers_0_self_attn_q_proj"),
        ("te", "text_model.encoder.layers.11.mlp.fc1", "lora_te_text_model_encoder_layers_11_mlp_fc1"),
        ("te1", "encoder.layers.3.mlp.fc2", "lora_te1_text_model_encoder_layers_3_mlp_fc2"),
        ("te2", "text_model.encoder.layers.31.self_attn.out_proj", None),
    ],
)
def test_key_of_a_module(part: str, path: str, key: str | None) -> None:
    assert kohya_key(part, path) == (key or "lora_te2_text_model_encoder_layers_31_self_attn_out_proj")


def test_both_shapes_of_a_text_encoder_give_the_same_keys() -> None:
    config = CLIPTextConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1, vocab_size=9
    )
    keys = [
        {kohya_key("te", path) for path, _ in make(config).named_modules() if path.endswith(("_proj", "fc1", "fc2"))}
        for make in (CLIPTextModel, CLIPTextModelWithProjection)
    ]

    assert len(keys[0]) == 12
    assert keys[0] == keys[1]
    assert all(re.fullmatch(r"lora_te_text_model_encoder_layers_[01]_(self_attn|mlp)_\w+", key) for key in keys[0])


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="found 'te3', allowed: unet, te, te1, te2"):
        kohya_key("te3", "encoder.layers.0.mlp.fc1")


def test_tensor_names() -> None:
    assert tensor_names("lora_unet_x") == (
        "lora_unet_x.lora_down.weight",
        "lora_unet_x.lora_up.weight",
        "lora_unet_x.alpha",
    )
