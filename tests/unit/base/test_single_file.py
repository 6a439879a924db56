"""A checkpoint in the original layout is the same model as its diffusers folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from museum_plugin.base.family import SD1, SD2
from museum_plugin.base.layout import family_facts, unet_config
from museum_plugin.base.load import BaseModel, load_base, weights_fingerprint
from museum_plugin.base.single_file import convert_text_encoder, convert_unet, convert_vae, told_prediction_type
from museum_plugin.base.weight_file import WeightFile
from museum_plugin.config.arguments import POCKET_MODEL
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import BaseModelError
from tests.original_layout import VAE_STYLES, Tensors, original_tensors, original_vae, write_true_base


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base of each family; a tokenizer lies beside every checkpoint that is written here."""
    root = tmp_path_factory.mktemp("true bases")
    return {name: write_true_base(root / name, sd2=name == "sd2") for name in ("sd1", "sd2")}


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Path]) -> dict[str, BaseModel]:
    return {name: load_base(folder) for name, folder in folders.items()}


@pytest.fixture
def place(folders: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(folders["sd1"] / "tokenizer", tmp_path / "tokenizer")
    return tmp_path


def in_half(tensors: Tensors) -> Tensors:
    return {name: tensor.half().contiguous() for name, tensor in tensors.items()}


def as_safetensors(path: Path, tensors: Tensors) -> Path:
    file = path.with_suffix(".safetensors")
    save_file(in_half(tensors), file)
    return file


def with_average(path: Path, tensors: Tensors) -> Path:
    average = {f"model_ema.{name.replace('.', '')}": tensor + 1 for name, tensor in tensors.items()}
    return as_safetensors(path, tensors | average)


def as_pickle(path: Path, tensors: Tensors) -> Path:
    file = path.with_suffix(".ckpt")
    torch.save(in_half(tensors), file)
    return file


def nested(path: Path, tensors: Tensors) -> Path:
    file = path.with_suffix(".ckpt")
    content = {"state_dict": tensors, "global_step": 470000, "epoch": 3}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file


def same_tensors(one: BaseModel, other: BaseModel) -> bool:
    pairs = ((one.unet, other.unet), (one.vae, other.vae), (one.text_encoders[0], other.text_encoders[0]))
    states = [(a.state_dict(), b.state_dict()) for a, b in pairs]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in states)


def noise_prediction(base: BaseModel) -> torch.Tensor:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    states = base.text_encoders[0](torch.tensor([[5, 6, 7]])).last_hidden_state
    return base.unet(latents, 300, states).sample


@pytest.mark.parametrize("write", [as_safetensors, with_average, as_pickle, nested])
def test_sd1_as_a_file_is_the_same_model(
    folders: dict[str, Path], loaded: dict[str, BaseModel], place: Path, write: Callable[[Path, Tensors], Path]
) -> None:
    file = write(place / "model", original_tensors(folders["sd1"]))

    found, expected = load_base(file), loaded["sd1"]

    assert (found.family, found.prediction_type, found.name) == (SD1, "epsilon", file.name)
    assert same_tensors(found, expected)
    assert (found.fingerprint, found.vae_fingerprint) == (expected.fingerprint, expected.vae_fingerprint)
    assert torch.equal(found.alphas_cumprod, expected.alphas_cumprod)
    assert torch.equal(noise_prediction(found), noise_prediction(expected))
    assert not any(p.requires_grad for part in (found.unet, found.vae, *found.text_encoders) for p in part.parameters())


@pytest.mark.parametrize("linear", [True, False])
def test_sd2_as_a_file_is_the_same_model(
    folders: dict[str, Path], loaded: dict[str, BaseModel], place: Path, linear: bool
) -> None:
    file = as_safetensors(place / "model", original_tensors(folders["sd2"], linear=linear))

    found, expected = load_base(file), loaded["sd2"]

    assert (found.family, found.prediction_type) == (SD2, "v_prediction")
    assert same_tensors(found, expected)
    assert found.fingerprint == expected.fingerprint
    assert torch.equal(noise_prediction(found), noise_prediction(expected))


def test_a_file_is_read_into_memory_and_nothing_is_drawn(folders: dict[str, Path], place: Path) -> None:
    file = as_safetensors(place / "model", original_tensors(folders["sd1"]))
    state = torch.get_rng_state()
    found = load_base(file)
    assert torch.equal(torch.get_rng_state(), state)
    before = found.fingerprint
    file.write_bytes(b"")
    assert weights_fingerprint((found.unet, *found.text_encoders)) == before


@pytest.mark.parametrize("style", VAE_STYLES)
def test_every_naming_of_the_vae_s_attention(
    folders: dict[str, Path], loaded: dict[str, BaseModel], style: str
) -> None:
    vae = convert_vae(WeightFile(Path("f"), original_vae(folders["sd1"] / "vae", style)), family_facts(SD1)["vae"])
    assert weights_fingerprint((vae,)) == loaded["sd1"].vae_fingerprint


def test_the_pocket_model_in_the_original_layout() -> None:
    """It has other heads and groups than SD1, which no checkpoint can say; here they are given."""
    pocket = load_base(POCKET_MODEL)
    tensors = original_tensors(POCKET_MODEL) | {"scale_factor": torch.tensor(0.37301)}
    file = WeightFile(Path("pocket"), tensors)
    unet = convert_unet(file, {"norm_num_groups": 16}, {"count": 2})
    text_encoder = convert_text_encoder(file, {"hidden_act": "quick_gelu"}, pocket.tokenizers[0])
    vae = convert_vae(file, {"norm_num_groups": 8})
    assert weights_fingerprint((unet, text_encoder)) == pocket.fingerprint
    assert weights_fingerprint((vae,)) == pocket.vae_fingerprint
    assert vae.config.scaling_factor == pytest.approx(pocket.vae.config.scaling_factor)
    own = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    ignored = ("sample_size",)
    assert {n: v for n, v in own.items() if n not in ignored and _plain(pocket.unet.config[n]) != _plain(v)} == {}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("heads", "expected"), [({"count": 8}, 8), ({"width": 16}, [2, 2, 4, 4])])
def test_heads_come_by_number_or_by_width(
    folders: dict[str, Path], heads: dict[str, int], expected: int | list[int]
) -> None:
    assert unet_config(original_tensors(folders["sd1"]), {}, heads)["attention_head_dim"] == expected


@pytest.mark.parametrize(
    ("tensors", "metadata", "expected"),
    [
        ({}, {}, None),
        ({"v_pred": torch.zeros(1)}, {}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ({"global_step": torch.tensor(875000)}, {}, "epsilon"),
        ({"global_step": torch.tensor(140000)}, {}, None),
    ],
)
def test_what_a_file_says_of_its_prediction(tensors: Tensors, metadata: dict[str, str], expected: str | None) -> None:
    assert told_prediction_type(WeightFile(Path("f"), tensors, metadata)) == expected


@pytest.mark.parametrize(
    ("name", "marker", "asked", "expected"),
    [
        ("sd1", {}, {"v_parameterization": True}, "v_prediction"),
        ("sd1", {"v_pred": torch.zeros(1)}, {}, "v_prediction"),
        ("sd2", {}, {"v2": True, "v_parameterization": False}, "epsilon"),
        ("sd2", {"global_step": torch.tensor(875000.0)}, {}, "epsilon"),
    ],
)
def test_a_prediction_that_is_told_or_asked_for(
    folders: dict[str, Path], place: Path, name: str, marker: Tensors, asked: dict[str, bool], expected: str
) -> None:
    file = place / "model.safetensors"
    save_file(in_half(original_tensors(folders[name])) | marker, file)
    base = load_base(file, BaseConfig(file, **asked))  # type: ignore[arg-type]
    assert base.prediction_type == expected
    assert base.unet.config.sample_size == (64 if (name, expected) != ("sd2", "v_prediction") else 96)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"v2": True}, "found an SD1 model, but v2 is true"),
        ({"v_parameterization": True}, "predicts epsilon, but v_parameterization is true"),
    ],
)
def test_a_contradiction_is_refused(folders: dict[str, Path], asked: dict[str, bool], message: str) -> None:
    with pytest.raises(BaseModelError, match=message):
        load_base(folders["sd1"], BaseConfig(folders["sd1"], **asked))  # type: ignore[arg-type]
