"""Pictures to latents and back."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.base import encode
from museum_plugin.base.encode import decode_latents, encode_pictures
from museum_plugin.base.load import BaseModel
from museum_plugin.base.vae_memory import DECODING, ENCODING, pictures_at_once


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


@pytest.mark.parametrize(
    ("free", "count"),
    [(None, 8), (10**9, 8), (4 * 5_000 * 10, 3), (5_000 * 10, 0), (0, 0)],
)
def test_as_many_pictures_as_fit_are_worked_on_at_once(free: int | None, count: int) -> None:
    assert pictures_at_once(5_000, 10, free, 8) == count


class Watched:
    """The batch sizes that a VAE is given, and whether in tiles, on a card with room for so many pictures."""

    def __init__(self, patch: pytest.MonkeyPatch, base: BaseModel, room: float) -> None:
        self.seen: list[tuple[int, bool]] = []
        largest = 64 * 64 * 4 * max(ENCODING, DECODING)
        patch.setattr(encode, "free_memory", lambda device: int(room * largest / 0.9) + 100)
        for name in ("encode", "decode"):
            patch.setattr(base.vae, name, self._watch(base, getattr(base.vae, name)))

    def _watch(self, base: BaseModel, work):  # noqa: ANN001, ANN202
        def watched(batch: torch.Tensor):  # noqa: ANN202
            self.seen.append((len(batch), base.vae.use_tiling))
            return work(batch)

        return watched


@pytest.mark.parametrize(("room", "batches"), [(2, [(2, False), (1, False)]), (0.5, [(1, True)] * 3)])
def test_on_a_small_card_pictures_take_turns_and_then_tiles(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch, room: float, batches: list[tuple[int, bool]]
) -> None:
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    before, tile = decode_latents(base, latents), base.vae.tile_sample_min_size
    watched = Watched(monkeypatch, base, room)
    torch.testing.assert_close(decode_latents(base, latents), before)
    assert watched.seen == batches
    assert (base.vae.use_tiling, base.vae.tile_sample_min_size) == (False, tile)


def test_a_batch_that_does_not_fit_is_encoded_in_parts(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = encode_pictures(base, images)
    watched = Watched(monkeypatch, base, 1)
    torch.testing.assert_close(encode_pictures(base, images), before)
    assert watched.seen == [(1, False)] * 3


def test_a_large_picture_in_tiles_is_about_the_same(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(1, 4, 96, 80, generator=torch.Generator().manual_seed(0))
    whole = decode_latents(base, latents)
    watched = Watched(monkeypatch, base, 0)
    tiles = decode_latents(base, latents)
    assert {tiled for _, tiled in watched.seen} == {True}
    assert tiles.shape == whole.shape
    assert (tiles - whole).abs().mean() < 0.2 * whole.abs().mean()
