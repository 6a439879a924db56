"""SDXL's U-Net of another program: the same model, called and watched as ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from museum_plugin.base.borrowed import borrowed_base
from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.family import SDXL
from museum_plugin.base.lent_unet import LentUNet
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.lora import target_modules
from tests.recipes.original_sdxl import OriginalUNet
from tests.sdxl_models import write_tiny_sdxl

SIZES = torch.tensor([[64.0, 96, 8, 0, 64, 80], [64, 64, 0, 0, 64, 64]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sdxl(tmp_path_factory.mktemp("lent") / "sdxl")


@pytest.fixture(scope="module")
def ours(folder: Path) -> BaseModel:
    return load_base(folder)


def borrow(base: BaseModel, path: Path) -> BaseModel:
    return borrowed_base(
        path, SDXL, "epsilon", unet=OriginalUNet(base.unet), vae=base.vae, text_encoders=base.text_encoders,
        tokenizers=base.tokenizers,
    )  # fmt: skip


def predicted(base: BaseModel, sizes: torch.Tensor | None = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A prediction, and what left each block."""
    denoiser = Denoiser(base)
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    text = encode_prompts(base, ["a red cat", "a blue fish"])
    with torch.no_grad(), denoiser.watch(denoiser.feature_blocks()) as features:
        pred = denoiser.predict(noisy, torch.tensor([20, 700]), text, sizes)
    return pred, dict(zip(denoiser.feature_blocks(), features, strict=True))


@pytest.mark.parametrize("sizes", [None, SIZES], ids=["whole", "cropped"])
def test_it_predicts_what_the_loaded_model_predicts(ours: BaseModel, folder: Path, sizes: torch.Tensor | None) -> None:
    lent = borrow(ours, folder)
    (one, features), (other, theirs) = predicted(ours, sizes), predicted(lent, sizes)
    torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)
    assert features.keys() == theirs.keys()
    for block, feature in features.items():
        torch.testing.assert_close(theirs[block], feature, atol=1e-5, rtol=1e-5)


def test_sizes_count(ours: BaseModel, folder: Path) -> None:
    lent = borrow(ours, folder)
    assert not torch.equal(predicted(lent, SIZES)[0], predicted(lent)[0])


def test_the_fingerprint_is_that_of_the_loaded_base(ours: BaseModel, folder: Path) -> None:
    lent = borrow(ours, folder)
    assert (lent.fingerprint, lent.vae_fingerprint) == (ours.fingerprint, ours.vae_fingerprint)


@pytest.mark.parametrize("put_away", [False, True])
def test_a_base_is_known_again_although_its_text_encoders_were_rounded(folder: Path, put_away: bool) -> None:
    exact = load_base(folder)
    for encoder in exact.text_encoders:
        encoder.to(torch.bfloat16)
        if put_away:  # as sd-scripts does after it has cached their outputs
            encoder.float()
    assert borrow(exact, folder).fingerprint == exact.fingerprint
    if put_away:
        elsewhere = borrow(exact, Path("owner/name"))
        assert elsewhere.fingerprint != exact.fingerprint


def test_the_lora_has_the_same_layers_in_the_same_order(ours: BaseModel, folder: Path) -> None:
    found = [
        [
            (key, module.weight.shape)
            for key, module in target_modules(base, with_text_encoder=True, with_convolutions=c)
        ]
        for c in (False, True)
        for base in (ours, borrow(ours, folder))
    ]
    assert found[0] == found[1]
    assert sorted(found[2]) == sorted(found[3])


def test_it_is_the_hosts_own_modules_that_are_watched_and_changed(ours: BaseModel) -> None:
    host = OriginalUNet(ours.unet)
    lent = LentUNet(host)
    assert lent.host is host
    assert set(lent.state_dict()) == set(host.state_dict())
    assert lent.get_submodule("middle_block.1") is host.middle_block[1]
    assert lent.get_submodule("down_blocks.0") is host.input_blocks[3][0]


def test_text_encoders_are_brought_to_the_unet_only_where_they_are_elsewhere(ours: BaseModel) -> None:
    text = torch.nn.Linear(1, 1)
    base = replace(ours, text_encoders=(text,))
    moved: list[tuple[object, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "to", lambda *where: moved.append(where))
        base.bring_text_encoders()
        assert moved == []
        patch.setattr(BaseModel, "device", torch.device("meta"))
        base.bring_text_encoders()
    assert moved == [(torch.device("meta"), torch.float32)]
