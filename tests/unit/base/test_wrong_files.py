"""Files that are no base model: one message each, which says what it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from museum_plugin.base.family import SD1
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.other_vae import read_vae
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError
from tests.original_layout import Tensors, original_tensors, original_vae, write_true_base

ONE = torch.zeros(1)
FIRST = "model.diffusion_model.input_blocks.0.0.weight"


class Mischief:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_true_base(tmp_path_factory.mktemp("true") / "sd1")


@pytest.fixture(scope="module")
def tensors(folder: Path) -> Tensors:
    return {name: tensor.contiguous() for name, tensor in original_tensors(folder).items()}


@pytest.fixture(scope="module")
def true_base(folder: Path) -> BaseModel:
    return load_base(folder)


@pytest.fixture
def place(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["conditioner.embedders.1.model.ln_final.weight", FIRST], "holds no first text encoder and no VAE"),
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "a Flux model; SD1.x, SD2.x and SDXL"),
        (["model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias"], "an SD3 model"),
        (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], "a LoRA, not a base model"),
        (["control_model.time_embed.0.weight"], "a ControlNet, not a base model"),
        (["conditioner.embedders.0.model.ln_final.weight", FIRST], "the refiner of SDXL"),
        (["edm_mean", FIRST], "of the EDM noise schedule"),
        (["emb_params"], "an embedding, not a base model"),
        (["down_blocks.0.resnets.0.conv1.weight"], "give the folder that holds all parts"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "a VAE alone"),
        (["blocks.0.weight"], "no known model .a name: 'blocks.0.weight'"),
        ([FIRST], "holds no text encoder and no VAE"),
    ],
)
def test_another_kind_of_file(tmp_path: Path, names: list[str], message: str) -> None:
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(1) for name in names}, file)
    with pytest.raises(BaseModelError, match=message) as refused:
        load_base(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def _drop(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


def _put(name: str, value: torch.Tensor) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: value})


def _spoil(tensors: Tensors) -> None:
    tensors["model.diffusion_model.out.0.bias"] = torch.full((32,), float("nan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_spoil, "U-Net: conv_norm_out.bias holds NaN or infinite values"),
        (_put("first_stage_model.decoder.norm_out.bias", torch.zeros(32).int()), "is int32; weights must be"),
        (_put("first_stage_model.decoder.norm_out.bias", torch.zeros(5)), r"has shape \(5,\), not \(32,\)"),
        (_put("model.diffusion_model.input_blocks.1.1.extra.weight", ONE), "has 1 tensors that this family lacks"),
        (_drop("model.diffusion_model.out.0.bias"), "1 tensors of the U-Net are missing, such as conv_norm_out.bias"),
        (_drop("model.diffusion_model.out.2.weight"), "out.2.weight' is missing"),
        (_put(FIRST, torch.zeros(32, 9, 3, 3)), "an inpainting model, its U-Net takes 9 channels"),
    ],
)
def test_a_damaged_model(tensors: Tensors, place: Path, change: Callable[[Tensors], object], message: str) -> None:
    changed = dict(tensors)
    change(changed)
    save_file(changed, place / "m.safetensors")
    with pytest.raises(BaseModelError, match=message):
        load_base(place / "m.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 16, None], ids=["empty", "random", "truncated"])
def test_a_file_that_cannot_be_read(tensors: Tensors, tmp_path: Path, suffix: str, content: bytes | None) -> None:
    file = tmp_path / f"m{suffix}"
    if content is None:
        save_file(tensors, file) if suffix == ".safetensors" else torch.save(tensors, file)
        content = file.read_bytes()[:-5000]
    file.write_bytes(content)
    with pytest.raises(BaseModelError, match="cut short, damaged") as refused:
        load_base(file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_not_run(tensors: Tensors, tmp_path: Path, zipped: bool) -> None:
    mark, file = tmp_path / "mark", tmp_path / "m.ckpt"
    content = {"state_dict": dict(list(tensors.items())[:3]), "callbacks": Mischief(mark)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BaseModelError, match=r"would run code when loaded, so it is not; take the \.safetensors"):
        load_base(file)
    assert not mark.exists()


def test_a_tokenizer_of_another_model(tensors: Tensors, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "m.safetensors")
    with pytest.raises(BaseModelError, match="knows .* tokens, the tokenizer found for it 49408"):
        load_base(tmp_path / "m.safetensors")


@pytest.mark.parametrize("form", ["file", "checkpoint", "folder", "model folder"])
def test_another_vae_takes_the_place_of_the_base_s(folder: Path, true_base: BaseModel, place: Path, form: str) -> None:
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    torch.nn.init.ones_(vae.decoder.conv_norm_out.bias)
    vae.save_pretrained(place / "model" / "vae")
    found = {"folder": place / "model" / "vae", "model folder": place / "model"}.get(form, place / "vae.ckpt")
    own = original_vae(place / "model" / "vae")
    prefix = "first_stage_model." if form == "checkpoint" else ""
    torch.save(
        {"state_dict": {prefix + name: tensor for name, tensor in own.items()} | {"loss.x": ONE}}, place / "vae.ckpt"
    )

    base = load_base(folder, BaseConfig(folder, vae=found))

    assert torch.equal(base.vae.decoder.conv_norm_out.bias, vae.decoder.conv_norm_out.bias)
    assert base.fingerprint == true_base.fingerprint
    assert base.vae_fingerprint != true_base.vae_fingerprint
    assert not any(p.requires_grad for p in base.vae.parameters())


def _vae(folder: Path, **sizes: object) -> Path:
    form = {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4, "latent_channels": 4}  # fmt: skip
    AutoencoderKL(**{**form, **sizes}).save_pretrained(folder)
    return folder


def test_a_vae_that_does_not_fit(true_base: BaseModel, folder: Path, tmp_path: Path) -> None:
    other = _vae(tmp_path / "wide", latent_channels=16)
    flat = _vae(tmp_path / "flat", block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    save_file({"a": ONE}, tmp_path / "a.safetensors")
    save_file(original_vae(other), tmp_path / "wide.safetensors")
    for path, message in (
        (other, "another kind: its latents have 16 channels, not 4"),
        (tmp_path / "wide.safetensors", "another kind: its latents have 16 channels, not 4"),
        (flat, "1 halvings of a picture, not 3"),
        (tmp_path / "a.safetensors", "holds no VAE"),
        (folder / "unet", "found UNet2DConditionModel, needed AutoencoderKL"),
        (tmp_path, "config.json is missing"),
        (tmp_path / "nowhere.pt", "no VAE there"),
    ):
        with pytest.raises(BaseModelError, match=message):
            read_vae(path, true_base.vae, SD1)
