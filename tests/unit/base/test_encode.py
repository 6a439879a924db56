"""Pictures to latents and back."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.base.encode import decode_latents, encode_pictures
from museum_plugin.base.load import BaseModel


def test_pictures_become_scaled_latents_and_come_back_as_pictures(base: BaseModel) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1

    latents = encode_pictures(base, images)

    assert latents.shape == (3, 4, 8, 8)
    with torch.no_grad():
        mean = base.vae.encode(images).latent_dist.mean
    assert torch.equal(latents, mean * 0.18215)
    assert torch.equal(encode_pictures(base, images), latents), "the same picture is the same latent"
    decoded = decode_latents(base, latents * 100)
    assert decoded.shape == (3, 3, 64, 64)
    assert decoded.abs().max() <= 1


@pytest.mark.parametrize("count", [1, 9])
def test_latents_are_decoded_one_by_one_whatever_their_number(base: BaseModel, count: int) -> None:
    latents = torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = base.vae.decode(latents[-1:] / 0.18215).sample.clamp(-1, 1)
    torch.testing.assert_close(decode_latents(base, latents)[-1:], alone)
