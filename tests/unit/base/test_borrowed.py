"""A base out of networks that another program has loaded is the base that we load ourselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

from museum_plugin.base.borrowed import borrowed_base
from museum_plugin.base.family import SD1, SD2, Family
from museum_plugin.base.load import BaseModel, load_base, tensors_fingerprint
from museum_plugin.errors import BaseModelError
from tests.original_layout import original_tensors, write_true_base
from tests.tiny_models import write_tiny_base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("borrowed") / "tiny")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> BaseModel:
    return load_base(folder)


def borrow(base: BaseModel, family: Family = SD1, path: Path = Path("models/tiny")) -> BaseModel:
    return borrowed_base(
        path,
        family,
        "v_prediction",
        unet=base.unet,
        vae=base.vae,
        text_encoders=base.text_encoders,
        tokenizers=base.tokenizers,
    )


def test_the_fingerprint_is_that_of_the_loaded_base(loaded: BaseModel) -> None:
    borrowed = borrow(loaded)
    assert (borrowed.fingerprint, borrowed.vae_fingerprint) == (loaded.fingerprint, loaded.vae_fingerprint)
    assert (borrowed.name, borrowed.family, borrowed.prediction_type) == ("tiny", SD1, "v_prediction")
    assert borrowed.unet is loaded.unet


def test_the_fingerprint_does_not_depend_on_who_named_the_text_encoders_tensors(loaded: BaseModel) -> None:
    unet, text = loaded.unet.state_dict(), loaded.text_encoders[0].state_dict()
    older = {f"text_model.{name}": tensor for name, tensor in text.items()}
    older["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    assert tensors_fingerprint((unet, older)) == loaded.fingerprint
    name = "text_model.final_layer_norm.weight"
    assert tensors_fingerprint((unet, {**older, name: older[name] + 1})) != loaded.fingerprint


def test_1x1_convolutions_in_sd2s_projections_are_the_linear_layers_they_were(loaded: BaseModel) -> None:
    linear = {
        name: tensor.flatten(1) if "attentions" in name and "proj_" in name and tensor.ndim == 4 else tensor
        for name, tensor in loaded.unet.state_dict().items()
    }
    assert linear["mid_block.attentions.0.proj_in.weight"].ndim == 2
    expected = tensors_fingerprint((linear, loaded.text_encoders[0].state_dict()))
    assert borrow(loaded, SD2).fingerprint == expected != loaded.fingerprint


def test_a_base_is_known_again_although_its_text_encoder_was_rounded(folder: Path, tmp_path: Path) -> None:
    exact = load_base(folder)
    fingerprint = exact.fingerprint
    exact.text_encoders[0].to(torch.float16)
    assert borrow(exact).fingerprint == fingerprint
    words = load_base(folder).text_encoders[0].get_input_embeddings().weight
    assert borrow(exact).exact_words == ()
    exact.text_encoders[0].to(torch.bfloat16)
    borrowed = borrow(exact, path=folder)
    assert borrowed.fingerprint == fingerprint
    assert torch.equal(borrowed.exact_words[0], words)
    with pytest.raises(BaseModelError, match="rounded to bf16 by the trainer"):
        borrow(exact, path=tmp_path / "elsewhere")


@pytest.mark.parametrize("family", [SD1, SD2], ids=lambda family: family.name)
def test_so_is_one_of_a_checkpoint_file(tmp_path: Path, family: Family) -> None:
    exact = load_base(write_true_base(tmp_path / "folder", sd2=family is SD2))
    save_file(original_tensors(tmp_path / "folder"), tmp_path / "file.safetensors")
    exact.text_encoders[0].to(torch.bfloat16)
    assert borrow(exact, family, tmp_path / "file.safetensors").fingerprint == exact.fingerprint


def test_the_schedule_is_stable_diffusions(loaded: BaseModel) -> None:
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    torch.testing.assert_close(borrow(loaded).alphas_cumprod, scheduler.alphas_cumprod.float(), rtol=0, atol=0)


def test_the_vae_is_brought_to_the_unet_only_where_it_is_elsewhere_and_goes_back(loaded: BaseModel) -> None:
    moved: list[torch.device] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded.vae, "to", moved.append)
        with loaded.vae_at_hand() as vae:
            assert vae is loaded.vae
        assert moved == []
        patch.setattr(BaseModel, "device", torch.device("meta"))
        with loaded.vae_at_hand():
            assert moved == [torch.device("meta")]
    assert moved == [torch.device("meta"), torch.device("cpu")]
