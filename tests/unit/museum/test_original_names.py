"""LoRAs of SD1 and SD2 under the names of the original code, and in ComfyUI's spelling: read as if named by kohya."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from museum_plugin.__main__ import main
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.keys import diffusers_key
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.lora_file import merge_into_base, start_from
from museum_plugin.museum.lora_names import place_of
from museum_plugin.museum.lora_reading import read_lora
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import open_museum
from tests.full_shapes import full_shape
from tests.original_layout import unet_name
from tests.tiny_models import write_tiny_base
from tests.tiny_museums import prediction, shake


def original_paths(base: BaseModel) -> dict[str, str]:
    """kohya's key of each module of the U-Net -> its path in the original code."""
    paths = {module: path for path, module in base.unet.named_modules()}
    names = dict.fromkeys(paths.values(), torch.empty(0))
    modules = target_modules(base, with_text_encoder=False, with_convolutions=True)
    return {key: unet_name(f"{paths[module]}.weight", 2, names).removesuffix(".weight") for key, module in modules}


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_every_module_of_a_full_size_unet_is_found_by_its_original_name(family: str) -> None:
    originals = original_paths(full_shape(family))
    assert len(originals) == 278
    for key, path in originals.items():
        underscored = f"lora_unet_{path.replace('.', '_')}"
        assert place_of(underscored).key == key
        assert place_of(f"diffusion_model.{path}").key == key
        assert place_of(f"model.diffusion_model.{path}").key == key
        assert place_of(underscored, ("te1", "te2")).key == underscored


@pytest.mark.parametrize(
    ("module", "key"),
    [
        ("lora_unet_input_blocks_3_0_op", "lora_unet_down_blocks_0_downsamplers_0_conv"),
        ("lora_unet_output_blocks_2_1_conv", "lora_unet_up_blocks_0_upsamplers_0_conv"),
        ("lora_unet_output_blocks_5_2_conv", "lora_unet_up_blocks_1_upsamplers_0_conv"),
        ("lora_unet_input_blocks_8_0_emb_layers_1", "lora_unet_down_blocks_2_resnets_1_time_emb_proj"),
        ("lora_unet_time_embed_0", "lora_unet_time_embed_0"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", "lora_te_text_model_encoder_layers_0_mlp_fc1"),
    ],
)
def test_keys_of_the_original_code(module: str, key: str) -> None:
    assert diffusers_key(module) == key


FC1 = "text_model.encoder.layers.3.mlp.fc1"
IN_KOHYA = FC1.replace(".", "_")


@pytest.mark.parametrize(
    ("module", "text_parts", "key"),
    [
        (f"text_encoders.clip_l.transformer.{FC1}", ("te",), f"lora_te_{IN_KOHYA}"),
        (f"text_encoders.clip_h.transformer.{FC1}", ("te",), f"lora_te_{IN_KOHYA}"),
        (f"clip_l.transformer.{FC1}", ("te1", "te2"), f"lora_te1_{IN_KOHYA}"),
        (f"text_encoders.clip_g.transformer.{FC1}", ("te1", "te2"), f"lora_te2_{IN_KOHYA}"),
        (f"lora_te1_{IN_KOHYA}", ("te",), f"lora_te_{IN_KOHYA}"),
        (f"lora_te1_{IN_KOHYA}", ("te1", "te2"), f"lora_te1_{IN_KOHYA}"),
        ("lycoris_mid_block_attentions_0_proj_in", ("te",), "lora_unet_mid_block_attentions_0_proj_in"),
        ("lycoris_mid_block_attentions_0_proj_in", ("te1", "te2"), "lora_unet_middle_block_1_proj_in"),
        ("diffusion_model.middle_block.1.proj_in", ("te1", "te2"), "lora_unet_middle_block_1_proj_in"),
        (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out",
            ("te",),
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0",
        ),
        (
            "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q",
            ("te",),
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
        ),
        ("transformer.blocks.0.attn", ("te",), "transformer.blocks.0.attn"),
    ],
)
def test_where_a_module_of_another_spelling_lies(module: str, text_parts: tuple[str, ...], key: str) -> None:
    assert place_of(module, text_parts).key == key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("original") / "tiny", layers=2)


@pytest.fixture
def base(folder: Path) -> BaseModel:
    return load_base(folder)


def network_of(base: BaseModel, alpha: float = 1.5) -> LoRANetwork:
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    shapes = dict.fromkeys(modules, LayerShape(2, alpha))
    return LoRANetwork(base, rank=2, alpha=alpha, seed=0, with_text_encoder=True, shapes=shapes)


def comfyui(base: BaseModel) -> dict[str, str]:
    text = {module: path for path, module in base.text_encoders[0].named_modules()}
    found = {key: f"diffusion_model.{path}" for key, path in original_paths(base).items()}
    for key, module in target_modules(base, with_text_encoder=True):
        if module in text:
            inside = text[module].removeprefix("text_model.")
            found[key] = f"text_encoders.clip_l.transformer.text_model.{inside}"
    return found


def kohya_after_the_original(base: BaseModel) -> dict[str, str]:
    return {key: f"lora_unet_{path.replace('.', '_')}" for key, path in original_paths(base).items()}


def lycoris(base: BaseModel) -> dict[str, str]:
    return {key: key.replace("lora_unet_", "lycoris_") for key in original_paths(base)}


@pytest.mark.parametrize("halves", [("lora_down", "lora_up"), ("lora_A", "lora_B")])
@pytest.mark.parametrize("spelling", [comfyui, kohya_after_the_original, lycoris])
def test_every_way_in_changes_the_base_as_the_lora_does(
    folder: Path,
    base: BaseModel,
    tmp_path: Path,
    spelling: Callable[[BaseModel], dict[str, str]],
    halves: tuple[str, str],
) -> None:
    source = network_of(base)
    shake(source, torch.Generator().manual_seed(3), size=0.1)
    names = spelling(base)
    tensors: dict[str, Tensor] = {}
    for name, tensor in source.tensors().items():
        key, _, part = name.partition(".")
        part = part.replace("lora_down", halves[0]).replace("lora_up", halves[1])
        tensors[f"{names.get(key, key)}.{part}"] = tensor.clone().contiguous()
    assert not {name.partition(".")[0] for name in tensors} & set(names)
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    bare = prediction(base)
    with source.attached():
        expected = prediction(base)
    assert (expected - bare).abs().max() > 1e-3

    museum = tmp_path / "mine.safetensors"
    assert main(["import", str(path), f"--museum={museum}", f"--pretrained_model_name_or_path={folder}"]) == 0
    with open_museum(museum, base).attached():
        assert torch.equal(prediction(base), expected)
    started = network_of(base)
    start_from(started, read_lora(path, "network_weights"), path)
    with started.attached():
        assert torch.equal(prediction(base), expected)
    torch.testing.assert_close(prediction(merge_into_base(base, path, 1.0)), expected, atol=1e-5, rtol=1e-5)
