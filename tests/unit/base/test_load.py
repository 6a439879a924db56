"""A base is loaded frozen and known again by its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from museum_plugin.base.family import SD1, SD2, SDXL, detect_family
from museum_plugin.base.load import BaseModel, load_base, weights_fingerprint
from tests.tiny_models import write_tiny_base


def test_a_base_is_frozen_and_described(base: BaseModel) -> None:
    models = (base.unet, base.vae, *base.text_encoders)
    assert not any(p.requires_grad or p.dtype != torch.float32 for model in models for p in model.parameters())
    assert not any(model.training for model in models)
    assert (base.name, base.family, base.prediction_type, base.latent_factor) == ("tiny", SD1, "epsilon", 8)
    assert base.alphas_cumprod.shape == (1000,)


def test_a_fingerprint_depends_on_weights_alone(base: BaseModel, base_folder: Path, tmp_path: Path) -> None:
    other = load_base(write_tiny_base(tmp_path / "another name", prediction_type="v_prediction"))
    assert other.fingerprint == base.fingerprint
    assert other.prediction_type == "v_prediction"
    changed = load_base(write_tiny_base(tmp_path / "changed", seed=1))
    assert changed.fingerprint != base.fingerprint
    assert changed.vae_fingerprint != base.vae_fingerprint


def test_a_fingerprint_is_the_same_in_every_precision() -> None:
    layer = nn.Linear(30, 20)
    found = weights_fingerprint([layer])
    assert weights_fingerprint([layer.half()]) == found
    assert weights_fingerprint([layer.float()]) == found


@pytest.mark.parametrize("place", [0, -1])
def test_a_fingerprint_sees_both_ends_of_a_tensor(place: int) -> None:
    layer = nn.Linear(300, 200, bias=False)
    before = weights_fingerprint([layer])
    with torch.no_grad():
        layer.weight.view(-1)[place] += 1
    assert weights_fingerprint([layer]) != before


def test_a_fingerprint_of_a_tensor_too_long_for_float32_to_count() -> None:
    """The token embeddings of Stable Diffusion 1: the last of 37,945,344 places has no float32 of its own."""
    module = nn.Module()
    module.register_buffer("weight", torch.zeros(1).expand(49408 * 768))
    assert len(weights_fingerprint([module])) == 64


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({}, SD1),
        ({"use_linear_projection": True}, SD2),
        ({"addition_embed_type": "text_time", "use_linear_projection": True}, SDXL),
    ],
)
def test_families_are_told_apart(config: dict[str, object], family: object) -> None:
    assert detect_family(config) is family
