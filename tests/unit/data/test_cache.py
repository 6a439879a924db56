from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.cache import LatentCache
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.images import ColorShift
from museum_plugin.errors import ConfigError, OutputError, TrainingError
from tests.unit.data.drawn import bucketed, dataset_of, draw, draw_folder, style_of


class Encoder:
    """A fixed linear encoder, 8 pixels a side to one latent of 4 channels, that counts what it is asked."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.dtype = dtype
        self.weight = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def __call__(self, images: Tensor) -> Tensor:
        self.calls.append(tuple(images.shape))
        return torch.nn.functional.conv2d(images, self.weight, stride=8).to(self.dtype)

    @property
    def pictures(self) -> int:
        return sum(shape[0] for shape in self.calls)


def cache_of(encode=None, folder: Path | None = None, batch_size: int = 2, vae: str = "vae") -> LatentCache:
    return LatentCache(encode or Encoder(), vae_fingerprint=vae, folder=folder, batch_size=batch_size)


@pytest.fixture
def data(tmp_path: Path) -> StyleDataset:
    """Five pictures in two buckets, with flips."""
    folder = draw_folder(tmp_path / "pictures", [(64, 64)] * 3 + [(128, 64)] * 2)
    return StyleDataset(style_of(bucketed(SubsetConfig(folder, flip_aug=True), batch_size=3)))


def test_cached_latents_are_those_of_the_encoder(data: StyleDataset, tmp_path: Path) -> None:
    cache = cache_of(folder=tmp_path / "cache")
    cache.prepare(data)
    fresh = cache_of(folder=tmp_path / "cache")
    for index in range(2 * data.batches_per_epoch):
        batch = data.batch(index, seed=3)
        expected = Encoder()(data.images(batch)).detach()
        for either in (cache, fresh):
            latents = either.latents(batch.pictures, batch.flipped)
            assert (latents.dtype, latents.requires_grad) == (torch.float32, False)
            torch.testing.assert_close(latents, expected)


def test_each_latent_is_encoded_once_then_found_in_memory(data: StyleDataset) -> None:
    encode = Encoder()
    cache = cache_of(encode)
    pictures = data.pictures[:3]
    first = cache.latents(pictures, [False, False, True])
    assert encode.pictures == 3
    assert torch.equal(cache.latents(pictures, [False, False, True]), first)
    assert encode.pictures == 3
    cache.latents(pictures, [False, True, True])
    assert encode.pictures == 4


def test_the_same_picture_twice_in_a_batch_is_encoded_once(data: StyleDataset) -> None:
    encode = Encoder()
    latents = cache_of(encode).latents([data.pictures[0]] * 3, [False] * 3)
    assert encode.pictures == 1
    assert torch.equal(latents[0], latents[2])


def test_with_a_folder_a_second_run_encodes_nothing(data: StyleDataset, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "cache"
    cache_of(folder=folder).prepare(data)
    names = {path.name for path in folder.iterdir()}
    keys = {cache_of().key(picture, flip) for picture in data.pictures for flip in (False, True)}
    assert names == {f"{key}.safetensors" for key in keys}  # and no temporary file
    encode = Encoder()
    again = cache_of(encode, folder)
    again.prepare(data)
    again.latents(data.pictures[:3], [True] * 3)
    assert encode.calls == []


def test_read_only_takes_what_is_there_and_writes_nothing(data: StyleDataset, tmp_path: Path) -> None:
    def looks(folder: Path) -> tuple[Encoder, list[Path]]:
        encoder = Encoder()
        LatentCache(encoder, vae_fingerprint="vae", folder=folder, batch_size=2, read_only=True).prepare(data)
        return encoder, sorted(tmp_path.glob("*cache*/*"))

    encoder, files = looks(tmp_path / "no cache")
    assert (encoder.pictures, files) == (10, [])
    assert not (tmp_path / "no cache").exists()
    cache_of(folder=tmp_path / "cache").prepare(data)
    encoder, files = looks(tmp_path / "cache")
    assert (encoder.pictures, len(files)) == (0, 10)


def test_without_a_folder_nothing_is_written(data: StyleDataset, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    cache_of().prepare(data)
    assert sorted(tmp_path.rglob("*")) == before


def test_prepare_encodes_every_picture_and_both_flips_in_batches_of_one_size(data: StyleDataset) -> None:
    encode, told = Encoder(), []
    cache = cache_of(encode, batch_size=4)
    cache.prepare(data, lambda ready, total: told.append((ready, total)))
    assert encode.calls == [(4, 3, 64, 64), (2, 3, 64, 64), (4, 3, *reversed(data.pictures[4].placement.bucket))]
    assert told == [(0, 10), (4, 10), (6, 10), (10, 10)]
    calls = len(encode.calls)
    for flip in (False, True):
        cache.latents(data.pictures[:3], [flip] * 3)
        cache.latents(data.pictures[3:], [flip] * 2)
    assert len(encode.calls) == calls
    told.clear()
    cache.prepare(data, lambda ready, total: told.append((ready, total)))
    assert told == [(10, 10)]


def test_without_flip_aug_only_the_plain_picture_is_encoded(data: StyleDataset) -> None:
    encode = Encoder()
    plain = SubsetConfig(data.pictures[0].path.parent)
    cache_of(encode).prepare(StyleDataset(style_of(dataset_of(plain))))
    assert encode.pictures == 5


@pytest.mark.parametrize(
    ("name", "value"), [("random_crop", True), ("color_aug", True), ("face_crop_aug_range", (2.0, 4.0))]
)
def test_pictures_that_differ_in_every_step_are_not_skipped_silently(
    data: StyleDataset, name: str, value: object
) -> None:
    folder = data.pictures[0].path.parent
    varied = StyleDataset(style_of(dataset_of(SubsetConfig(folder, **{name: value}))))
    with pytest.raises(ConfigError, match=rf"{name}: cannot be used with cache_latents \({folder}\)"):
        cache_of().prepare(varied)


def test_the_key_knows_bytes_placement_colour_flip_and_vae(data: StyleDataset, tmp_path: Path) -> None:
    picture = data.pictures[0]
    place = picture.placement
    cache = cache_of()
    keys = [
        cache.key(picture, False),
        cache.key(picture, True),
        cache.key(data.pictures[1], False),
        cache.key(replace(picture, placement=replace(place, left=1)), False),
        cache.key(replace(picture, placement=replace(place, bucket=(32, 64))), False),
        cache.key(replace(picture, placement=replace(place, resized=(80, 64))), False),
        cache.key(replace(picture, color=ColorShift(hue=3.0)), False),
        cache_of(vae="other").key(picture, False),
        cache.key(replace(picture, subset=replace(picture.subset, resize_interpolation="box")), False),
        cache.key(replace(picture, subset=replace(picture.subset, alpha_mask=True)), False),
    ]
    assert len(set(keys)) == len(keys)
    copy = tmp_path / "copy.png"
    copy.write_bytes(picture.path.read_bytes())
    assert cache.key(replace(picture, path=copy, caption="other"), False) == keys[0]


def test_an_edited_picture_is_encoded_again(data: StyleDataset, tmp_path: Path) -> None:
    encode = Encoder()
    cache = cache_of(encode, tmp_path / "cache")
    picture = data.pictures[0]
    before = cache.latents([picture], [False])
    draw(picture.path, picture.size, seed=99)
    stat = picture.path.stat()
    os.utime(picture.path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # clocks may be coarse
    after = cache.latents([picture], [False])
    assert encode.pictures == 2
    assert not torch.equal(before, after)
    torch.testing.assert_close(cache_of(folder=tmp_path / "cache").latents([picture], [False]), after)


@pytest.mark.parametrize("damage", ["empty", "truncated", "one bit", "other tensor"])
def test_a_damaged_file_is_named_once_and_healed(
    data: StyleDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder = tmp_path / "cache"
    picture = data.pictures[0]
    expected = cache_of(folder=folder).latents([picture], [False])
    (file,) = folder.iterdir()
    raw = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "truncated": raw[:-10],
            "one bit": raw[:-1] + bytes([raw[-1] ^ 1]),
            "other tensor": raw.replace(b"latents", b"letters"),
        }[damage]
    )
    healed = cache_of(folder=folder).latents([picture, picture], [False, False])
    assert torch.equal(healed[:1], expected)
    assert torch.equal(healed[1:], expected)
    (record,) = caplog.records
    assert f"{file}: this cached latent is damaged and is made again" in record.getMessage()
    assert file.read_bytes() == raw


def test_half_precision_latents_are_kept_as_float32(data: StyleDataset) -> None:
    latents = cache_of(Encoder(torch.float16)).latents(data.pictures[:1], [False])
    assert latents.dtype == torch.float32


def test_values_that_are_not_finite_are_refused_and_never_stored(data: StyleDataset, tmp_path: Path) -> None:
    cache = cache_of(lambda images: torch.full((len(images), 4, 8, 8), float("nan")), tmp_path / "cache")
    with pytest.raises(TrainingError, match=r"00\.png: the VAE encodes it to values that are not finite.*float32"):
        cache.prepare(data)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="the latent cache cannot be made there"):
        cache_of(folder=tmp_path / "file" / "cache")


def test_a_latent_that_cannot_be_written_is_told(data: StyleDataset, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = cache_of(folder=folder)
    folder.rmdir()
    folder.touch()
    with pytest.raises(OutputError, match="cannot be written"):
        cache.latents(data.pictures[:1], [False])
