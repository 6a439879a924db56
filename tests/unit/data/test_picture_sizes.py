"""The six numbers that tell a model how a picture was cut to its bucket."""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.buckets import Placement
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.picture import Picture, picture_sizes, vary
from tests.unit.data.drawn import dataset_of, draw_folder, style_of


def wide(**settings: object) -> Picture:
    """1000 x 500 pixels, trained at 64 x 64: 128 x 64 after resizing."""
    subset = SubsetConfig(image_dir=Path("p"), **settings)  # type: ignore[arg-type]
    return Picture(Path("p/0.png"), (1000, 500), "a cat", subset, Placement((64, 64), (128, 64), 20, 0))


def test_height_comes_before_width_and_top_before_left() -> None:
    assert picture_sizes(wide(), False) == (500, 1000, 0, 20, 64, 64)


def test_of_a_mirrored_picture_the_other_side_is_cut_off() -> None:
    assert picture_sizes(wide(), True) == (500, 1000, 0, 128 - 64 - 20, 64, 64)


def test_what_is_cut_off_at_random_is_told_too() -> None:
    told = {picture_sizes(vary(wide(random_crop=True), Random(seed)), False)[3] for seed in range(50)}
    assert len(told) > 10
    assert min(told) >= 0
    assert max(told) <= 64


def test_the_pixels_are_those_that_the_numbers_tell(tmp_path: Path) -> None:
    """A picture that is not resized: its part from (top, left) on is what is loaded, mirrored or not."""
    draw_folder(tmp_path / "p", [(100, 64)])
    dataset = StyleDataset(style_of(dataset_of(SubsetConfig(image_dir=tmp_path / "p", flip_aug=True))))
    (picture,) = dataset.pictures
    whole = Picture(picture.path, picture.size, "", picture.subset, Placement((100, 64), (100, 64), 0, 0))
    seen = set()
    for index in range(20):
        batch = dataset.batch(index, 0)
        (flip,) = batch.flipped
        _, _, top, left, height, width = picture_sizes(batch.pictures[0], flip)
        shown = dataset.images(batch)[0]
        pixels = dataset.images(type(batch)([whole], [""], [flip]))[0]
        assert torch.equal(shown, pixels[:, top : top + height, left : left + width])
        seen.add(flip)
    assert seen == {True, False}
