"""What is known of a base model without loading it is what loading finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from museum_plugin.base.folder import empty_networks, folder_fingerprint, read_base_folder
from museum_plugin.base.load import load_base
from museum_plugin.errors import BaseModelError
from tests.tiny_models import write_tiny_base


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny", prediction_type="v_prediction")


@pytest.fixture
def copy(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "copy"))


def test_it_agrees_with_the_loaded_model(tiny_base: Path) -> None:
    folder, base = read_base_folder(tiny_base), load_base(tiny_base)

    assert folder_fingerprint(tiny_base) == base.fingerprint
    assert (folder.name, folder.family, folder.prediction_type) == (base.name, base.family, base.prediction_type)
    assert folder.timesteps == len(base.alphas_cumprod)
    assert folder.text_layers == base.text_encoders[0].config.num_hidden_layers
    assert folder.tokenizers[0]("a cat").input_ids == base.tokenizers[0]("a cat").input_ids


def test_networks_without_numbers_have_the_modules_of_the_model(tiny_base: Path) -> None:
    empty, base = empty_networks(read_base_folder(tiny_base)), load_base(tiny_base)
    for found, whole in ((empty.unet, base.unet), (empty.text_encoders[0], base.text_encoders[0])):
        expected = {name: (type(module), getattr(module, "kernel_size", ())) for name, module in whole.named_modules()}
        assert {
            n: (type(module), getattr(module, "kernel_size", ())) for n, module in found.named_modules()
        } == expected
        assert all(parameter.is_meta for parameter in found.parameters())


def test_half_precision_and_older_names_are_the_same_model(copy: Path) -> None:
    before = folder_fingerprint(copy)
    file = copy / "text_encoder" / "model.safetensors"
    old = {f"text_model.{name.removeprefix('text_model.')}": tensor.half() for name, tensor in load_file(file).items()}
    save_file(old, file, {"format": "pt"})

    assert folder_fingerprint(copy) == before == load_base(copy).fingerprint


def test_other_weights_are_another_model(copy: Path) -> None:
    before = folder_fingerprint(copy)
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"].flatten()[0] += 1
    save_file(tensors, file, {"format": "pt"})

    assert folder_fingerprint(copy) != before


def test_weights_of_another_format_give_no_fingerprint(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(copy / "unet" / "diffusion_pytorch_model.bin")

    assert folder_fingerprint(copy) is None


def test_damaged_weights_are_refused(copy: Path) -> None:
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])

    with pytest.raises(BaseModelError, match="cannot be loaded"):
        folder_fingerprint(copy)


@pytest.mark.parametrize(
    ("file", "key", "value", "told"),
    [
        ("unet/config.json", "addition_embed_type", "text_time", "text_encoder_2, tokenizer_2 is missing"),
        ("scheduler/scheduler_config.json", "prediction_type", "sample", "'sample'"),
        ("text_encoder/config.json", "hidden_size", 99, "do not belong together"),
    ],
)
def test_what_loading_refuses_is_refused(copy: Path, file: str, key: str, value: object, told: str) -> None:
    content = json.loads((copy / file).read_text(encoding="utf-8"))
    (copy / file).write_text(json.dumps({**content, key: value}), encoding="utf-8")

    with pytest.raises(BaseModelError, match=told):
        read_base_folder(copy)
