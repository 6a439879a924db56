"""LoRAs of SDXL that name the U-Net's modules after diffusers, in kohya's underscores: read as if named by kohya."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from museum_plugin.__main__ import main
from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.lora_file import merge_into_base, start_from
from museum_plugin.museum.lora_reading import read_lora
from museum_plugin.museum.shape import LayerShape
from tests.sdxl_models import write_tiny_sdxl
from tests.tiny_museums import shake


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sdxl(tmp_path_factory.mktemp("underscored") / "sdxl")


def network_of(base: BaseModel) -> LoRANetwork:
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    shapes = dict.fromkeys(modules, LayerShape(2, 1.5))
    return LoRANetwork(base, rank=2, alpha=1.5, seed=0, with_text_encoder=True, shapes=shapes)


@pytest.fixture
def base(folder: Path) -> BaseModel:
    return load_base(folder)


@pytest.fixture
def source(base: BaseModel) -> LoRANetwork:
    network = network_of(base)
    shake(network, torch.Generator().manual_seed(3), size=0.1)
    return network


@pytest.fixture
def lora(base: BaseModel, source: LoRANetwork, tmp_path: Path) -> Path:
    """Named after diffusers."""
    paths = {module: path.replace(".", "_") for path, module in base.unet.named_modules()}
    names = {key: f"lora_unet_{paths[module]}" if module in paths else key for key, module in source.targets.items()}
    given = {name.replace(key := name.partition(".")[0], names[key]): t for name, t in source.tensors().items()}
    assert any("down_blocks_1_attentions_0" in name for name in given)
    assert not any("input_blocks" in name for name in given)
    path = tmp_path / "other.safetensors"
    save_file({name: tensor.clone().contiguous() for name, tensor in given.items()}, path)
    return path


def prediction(base: BaseModel) -> Tensor:
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return Denoiser(base).predict(noisy, torch.tensor([600]), encode_prompts(base, ["a red cat"]))


def test_import_keeps_every_number(folder: Path, source: LoRANetwork, lora: Path, tmp_path: Path) -> None:
    museum = tmp_path / "mine.safetensors"
    assert main(["import", str(lora), f"--museum={museum}", f"--pretrained_model_name_or_path={folder}"]) == 0
    found, expected = read_museum(museum).lora, source.tensors()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_run_starts_from_it(base: BaseModel, source: LoRANetwork, lora: Path) -> None:
    started = network_of(base)
    start_from(started, read_lora(lora, "network_weights", base.family.text_parts), lora)
    found, expected = started.tensors(), source.tensors()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_it_is_merged_into_a_base(base: BaseModel, source: LoRANetwork, lora: Path) -> None:
    bare = prediction(base)
    with source.attached():
        expected = prediction(base)
    merged = prediction(merge_into_base(base, lora, 1.0))
    assert (expected - bare).abs().max() > 1e-3
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=1e-5)
