"""Masks move with their pictures."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.cache import LatentCache
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.picture import load_mask, load_picture
from museum_plugin.errors import DataError
from tests.unit.data.drawn import dataset_of, draw, draw_folder, style_of


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def data_of(folder: Path, **subset: object) -> StyleDataset:
    settings = {"class_tokens": "x", **subset}
    return StyleDataset(style_of(dataset_of(SubsetConfig(folder, **settings), resolution=(16, 16), batch_size=9)))  # type: ignore[arg-type]


def cache() -> LatentCache:
    return LatentCache(lambda x: torch.nn.functional.avg_pool2d(x, 8), vae_fingerprint="v", folder=None, batch_size=2)


@pytest.fixture
def transparent(tmp_path: Path) -> Path:
    """A picture of 16x32 (width 32) whose alpha is 0, 51, 102 ... in columns of 4, above colours that are not white."""
    pixels = np.zeros((16, 32, 4))
    pixels[..., 0] = 120
    pixels[..., 3] = np.repeat(np.arange(8) * 30, 4)[None]
    write(tmp_path / "alpha" / "a.png", pixels)
    return tmp_path / "alpha"


def test_alpha_is_the_mask_in_step_with_crop_and_flip(transparent: Path) -> None:
    (picture,) = data_of(transparent, alpha_mask=True).pictures
    assert (picture.placement.resized, picture.placement.left) == ((32, 16), 8)
    mask = load_mask(picture, False)
    assert mask.shape == (1, 16, 16)
    expected = torch.tensor([60.0, 90.0, 120.0, 150.0]).repeat_interleave(4) / 255
    torch.testing.assert_close(mask[0, 0], expected)
    torch.testing.assert_close(mask, mask[:, :1].expand_as(mask))
    torch.testing.assert_close(load_mask(picture, True)[0, 0], expected.flip(0))
    moved = replace(picture, placement=replace(picture.placement, left=0))
    torch.testing.assert_close(load_mask(moved, False)[0, 0, 4], torch.tensor(30 / 255))


def test_with_alpha_as_mask_the_colours_below_are_kept(transparent: Path) -> None:
    (picture,) = data_of(transparent, alpha_mask=True).pictures
    assert load_picture(picture, False).unique().tolist() == pytest.approx([-1.0, 120 / 127.5 - 1])
    (plain,) = data_of(transparent).pictures
    assert len(load_picture(plain, False).unique()) > 2  # laid on white


def test_without_alpha_channel_everything_counts(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (16, 16))
    (picture,) = data_of(tmp_path, alpha_mask=True).pictures
    assert load_mask(picture, False).unique().tolist() == [1.0]


def test_the_red_channel_of_the_mask_picture_counts(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", (32, 16))
    pixels = np.zeros((16, 32, 3))
    pixels[:, 16:, 0] = 255
    pixels[..., 1] = 99
    write(tmp_path / "masks" / "a.jpg.png", pixels)
    write(tmp_path / "masks" / "a.bmp", pixels)
    (picture,) = data_of(tmp_path / "in", conditioning_data_dir=tmp_path / "masks").pictures
    assert picture.mask == tmp_path / "masks" / "a.bmp"
    assert load_mask(picture, False)[0, 3].tolist() == [0.0] * 8 + [1.0] * 8
    assert load_mask(picture, True)[0, 3].tolist() == [1.0] * 8 + [0.0] * 8
    # a mask of half the size of its picture fits as well
    write(tmp_path / "masks" / "a.bmp", pixels[::2, ::2])
    assert load_mask(picture, False)[0, 3].tolist() == [0.0] * 8 + [1.0] * 8


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", (32, 16))
    draw(tmp_path / "masks" / "a.png", (16, 32))
    (picture,) = data_of(tmp_path / "in", conditioning_data_dir=tmp_path / "masks").pictures
    with pytest.raises(DataError, match=r"masks/a\.png: this mask of 16x32 pixels has another shape.*32x16"):
        load_mask(picture, False)


def test_pictures_without_mask_are_named(tmp_path: Path) -> None:
    draw_folder(tmp_path / "in", [(16, 16)] * 8)
    draw(tmp_path / "masks" / "00.png", (16, 16))
    with pytest.raises(DataError, match=r"has no mask for 01\.png, 02\.png, 03\.png, 04\.png, 05\.png and 2 more of"):
        data_of(tmp_path / "in", conditioning_data_dir=tmp_path / "masks")
    with pytest.raises(DataError, match="conditioning_data_dir: there is no folder"):
        data_of(tmp_path / "in", conditioning_data_dir=tmp_path / "gone")


def test_a_damaged_mask_is_found_before_training(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", (16, 16))
    mask = draw(tmp_path / "masks" / "a.png", (16, 16))
    data = data_of(tmp_path / "in", conditioning_data_dir=tmp_path / "masks")
    data.verify()
    mask.write_bytes(mask.read_bytes()[:80])
    with pytest.raises(DataError, match=r"masks/a\.png: the picture is damaged"):
        data.verify()


def test_masks_of_a_batch_have_the_size_of_its_latents(transparent: Path) -> None:
    draw(transparent / "b.png", (16, 16))
    data = data_of(transparent, alpha_mask=True)
    masks = cache().masks(data.pictures, [False, True], (2, 2))
    assert masks is not None
    assert (masks.shape, masks.dtype) == (torch.Size([2, 1, 2, 2]), torch.float32)
    # each latent stands for 8 columns: (60 + 90) / 2 and (120 + 150) / 2
    torch.testing.assert_close(masks[0, 0, 0], torch.tensor([75.0, 135.0]) / 255)
    assert masks[1].unique().tolist() == [1.0]
    flipped = cache().masks(data.pictures[:1], [True], (2, 2))
    assert flipped is not None
    torch.testing.assert_close(flipped[0, 0, 0], torch.tensor([135.0, 75.0]) / 255)


def test_without_masks_there_are_none(transparent: Path) -> None:
    assert cache().masks(data_of(transparent).pictures, [False], (2, 2)) is None


def test_an_edited_mask_is_never_stale(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", (16, 16))
    mask = write(tmp_path / "masks" / "a.png", np.zeros((16, 16, 3)))
    data = data_of(tmp_path / "in", conditioning_data_dir=tmp_path / "masks")
    one = cache()
    before, again = (one.masks(data.pictures, [False], (2, 2)) for _ in range(2))
    assert before is not None
    assert again is not None
    assert before.max() == again.max() == 0
    write(mask, np.full((16, 16, 3), 255))
    mask.touch()
    stat = mask.stat()
    os.utime(mask, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # clocks may be coarse
    after = one.masks(data.pictures, [False], (2, 2))
    assert after is not None
    assert after.min() == 1


def test_turning_the_mask_off_leaves_neither_its_latents_nor_its_mask(transparent: Path, tmp_path: Path) -> None:
    def make() -> LatentCache:
        pool = torch.nn.functional.avg_pool2d
        return LatentCache(lambda x: pool(x, 8), vae_fingerprint="v", folder=tmp_path / "c", batch_size=2)

    with_mask, without = data_of(transparent, alpha_mask=True), data_of(transparent)
    first = make().latents(with_mask.pictures, [False])
    later = make()
    second = later.latents(without.pictures, [False])
    assert later.masks(without.pictures, [False], (2, 2)) is None
    assert not torch.equal(first, second)  # on white, no longer the colours below
    torch.testing.assert_close(second, make().encode(load_picture(without.pictures[0], False)[None]))


def test_the_fingerprint_knows_masks_by_their_content(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", (16, 16))
    for name, seed in (("one", 1), ("copy", 1), ("two", 2)):
        draw(tmp_path / name / "a.png", (16, 16), seed=seed)
    prints = [
        data_of(tmp_path / "in", conditioning_data_dir=tmp_path / name if name else None).fingerprint
        for name in (None, "one", "copy", "two")
    ]
    assert prints[1] == prints[2]
    assert len(set(prints)) == 3
    assert data_of(tmp_path / "in", alpha_mask=True).fingerprint not in prints
