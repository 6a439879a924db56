"""A step on SDXL: the sizes of the style's pictures and of the bank's reach the U-Net, each its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import LossConfig
from museum_plugin.methods.bank import ReplayBatch
from museum_plugin.museum.store import new_museum
from museum_plugin.train.step import Pass, PassOptions, ReplayInputs, StyleBatch, replay_pass, rng_for, student_pass
from tests.sdxl_models import write_tiny_sdxl

SIZES = torch.tensor([[500.0, 1000, 0, 20, 64, 64]])


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return load_base(write_tiny_sdxl(tmp_path_factory.mktemp("bases") / "sdxl"))


def replay(base: BaseModel, side: int) -> ReplayInputs:
    noisy = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        text = encode_prompts(base, ["a dog"])
    batch = ReplayBatch(noisy, torch.tensor([300]), ("a dog",), torch.zeros_like(noisy), (), (0,))
    return ReplayInputs(batch, text)


@torch.no_grad()
def done(base: BaseModel, sizes: Tensor | None, given: ReplayInputs | None = None) -> tuple[Pass, list[list[float]]]:
    """The pass, and the sizes that the U-Net was told."""
    museum = new_museum(base, rank=2, alpha=1.0, seed=1, with_text_encoder=False)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = StyleBatch(latents, ("a cat",), torch.ones(1), sizes=sizes)
    told: list[list[float]] = []

    def listen(_module: nn.Module, _inputs: object, named: dict[str, dict[str, Tensor]]) -> None:
        told.extend(named["added_cond_kwargs"]["time_ids"].tolist())

    hook = base.unet.register_forward_pre_hook(listen, with_kwargs=True)
    options = PassOptions(LossConfig(), TextEncoding())
    found = student_pass(museum, Denoiser(base), batch, rng_for(0, "ink", 0), options)
    if given is not None:
        found = replace(found, step=replay_pass(Denoiser(base), found.step, given, ()))
    hook.remove()
    return found, told


@pytest.mark.parametrize("side", [8, 16])
def test_pictures_have_their_own_sizes_and_the_bank_s_are_whole(sdxl: BaseModel, side: int) -> None:
    _, told = done(sdxl, SIZES, replay(sdxl, side))
    assert told == [SIZES[0].tolist(), [8 * side, 8 * side, 0, 0, 8 * side, 8 * side]]


def test_sizes_count(sdxl: BaseModel) -> None:
    usual, told = done(sdxl, None)
    assert told == [[64, 64, 0, 0, 64, 64]]
    assert not torch.equal(done(sdxl, SIZES)[0].pred, usual.pred)
