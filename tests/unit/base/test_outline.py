"""What is known of a checkpoint file without loading it is what loading finds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from museum_plugin.base.folder import empty_networks
from museum_plugin.base.load import load_base
from museum_plugin.base.outline import outline_fingerprint, read_outline
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError
from tests.original_layout import original_tensors, write_true_base


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_true_base(tmp_path_factory.mktemp("bases") / request.param, sd2=request.param == "sd2")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    file = folder / "whole.safetensors"
    tensors = {name: tensor.half().contiguous() for name, tensor in original_tensors(folder).items()}
    save_file(tensors, file, {"modelspec.prediction_type": "epsilon"})
    return file


def test_it_agrees_with_the_loaded_model(file: Path) -> None:
    outline, base = read_outline(BaseConfig(file)), load_base(file)

    assert outline_fingerprint(outline) == base.fingerprint
    assert (outline.name, outline.family, outline.prediction_type) == (base.name, base.family, base.prediction_type)
    assert outline.timesteps == len(base.alphas_cumprod)
    assert outline.text_layers == base.text_encoders[0].config.num_hidden_layers
    assert outline.tokenizers[0]("a cat").input_ids == base.tokenizers[0]("a cat").input_ids


def test_a_file_and_the_folder_it_was_made_of_are_one_model(file: Path, folder: Path) -> None:
    assert outline_fingerprint(read_outline(BaseConfig(file))) == outline_fingerprint(read_outline(BaseConfig(folder)))


def test_a_pickled_file_is_the_same_model(file: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": load_file(file)}, tmp_path / "whole.ckpt")
    asked = BaseConfig(tmp_path / "whole.ckpt", v_parameterization=False, tokenizer_cache_dir=file.parent / "tokenizer")

    outline = read_outline(asked)

    assert outline.prediction_type == "epsilon"
    assert outline_fingerprint(outline) == outline_fingerprint(read_outline(BaseConfig(file)))


def test_its_networks_have_the_modules_of_the_model_and_no_memory(file: Path) -> None:
    empty, base = empty_networks(read_outline(BaseConfig(file))), load_base(file)
    for found, whole in (
        (empty.unet, base.unet),
        (empty.text_encoders[0], base.text_encoders[0]),
        (empty.vae, base.vae),
    ):
        assert {n: type(m) for n, m in found.named_modules()} == {n: type(m) for n, m in whole.named_modules()}
        assert all(parameter.is_meta for parameter in found.parameters())


@pytest.mark.parametrize("flag", ["v_parameterization", "v2"])
def test_what_is_asked_and_not_found_is_refused_as_in_loading(file: Path, flag: str) -> None:
    is_v2 = read_outline(BaseConfig(file)).family.name == "sd2"
    right, wrong = (is_v2, not is_v2) if flag == "v2" else (False, True)
    asked, other = (BaseConfig(file, **{flag: value}) for value in (right, wrong))  # type: ignore[arg-type]

    assert read_outline(asked).prediction_type == "epsilon"
    with pytest.raises(BaseModelError, match=flag):
        read_outline(other)
    with pytest.raises(BaseModelError, match=flag):
        load_base(file, other)


def test_a_file_without_a_tensor_is_refused(file: Path, tmp_path: Path) -> None:
    tensors = load_file(file)
    del tensors["model.diffusion_model.out.0.bias"]
    save_file(tensors, tmp_path / "short.safetensors")

    with pytest.raises(BaseModelError, match="missing"):
        read_outline(BaseConfig(tmp_path / "short.safetensors", tokenizer_cache_dir=file.parent / "tokenizer"))
