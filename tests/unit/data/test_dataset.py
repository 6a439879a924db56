from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from museum_plugin.config.schema import StyleData, SubsetConfig
from museum_plugin.data.buckets import choose_bucket
from museum_plugin.data.dataset import StyleDataset, regularization_repeats
from museum_plugin.errors import ConfigError, DataError
from tests.unit.data.drawn import area_mean, bucketed, dataset_of, draw, draw_folder, style_of

SHAPES = [(64, 64)] * 5 + [(128, 64)] * 4 + [(40, 80)] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures of three shapes."""
    return draw_folder(tmp_path_factory.mktemp("pictures"), SHAPES)


def batches(data: StyleDataset, epoch: int = 0, seed: int = 0) -> list:
    start = epoch * data.batches_per_epoch
    return [data.batch(index, seed) for index in range(start, start + data.batches_per_epoch)]


def seen(data: StyleDataset, epoch: int = 0, seed: int = 0) -> list[str]:
    return [picture.path.name for batch in batches(data, epoch, seed) for picture in batch.pictures]


def test_every_picture_is_found_with_size_caption_and_placement(folder: Path) -> None:
    subset = SubsetConfig(folder)
    dataset = bucketed(subset)
    data = StyleDataset(style_of(dataset))
    assert [p.path.name for p in data.pictures] == [f"{number:02d}.png" for number in range(11)]
    assert [p.size for p in data.pictures] == SHAPES
    assert data.pictures[3].caption == "picture 3, red, round, small"
    assert {p.subset for p in data.pictures} == {subset}
    assert [p.placement for p in data.pictures] == [choose_bucket(size, dataset) for size in SHAPES]
    assert {p.loss_weight for p in data.pictures} == {1.0}


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**62), st.integers(0, 50))
def test_in_every_epoch_every_picture_is_seen_as_often_as_it_repeats(
    folder: Path, batch_size: int, repeats: int, other_repeats: int, seed: int, epoch: int
) -> None:
    first = bucketed(SubsetConfig(folder, repeats), batch_size=batch_size)
    second = dataset_of(SubsetConfig(folder, other_repeats, flip_aug=True), resolution=(32, 32), batch_size=2)
    data = StyleDataset(style_of(first, second))
    shown = batches(data, epoch, seed)
    counts = Counter(picture for batch in shown for picture in batch.pictures)
    assert counts == {picture: picture.subset.num_repeats for picture in data.pictures}
    small = 0
    for batch in shown:
        assert len({(p.placement.bucket, p.subset) for p in batch.pictures}) == 1
        size = 2 if batch.pictures[0].subset.flip_aug else batch_size
        assert 1 <= len(batch.pictures) <= size
        small += len(batch.pictures) < size
    assert small <= 4  # at most one for each of the three buckets and the one of the second dataset


def test_the_number_of_batches_counts_partial_ones_of_each_bucket(folder: Path) -> None:
    # 5, 4 and 2 pictures in batches of 3: 2 + 2 + 1
    assert StyleDataset(style_of(bucketed(SubsetConfig(folder), batch_size=3))).batches_per_epoch == 5
    # twice: 10, 8 and 4: 4 + 3 + 2
    assert StyleDataset(style_of(bucketed(SubsetConfig(folder, 2), batch_size=3))).batches_per_epoch == 9


def test_a_batch_depends_on_index_seed_and_style_only(folder: Path) -> None:
    subset = SubsetConfig(folder, flip_aug=True, shuffle_caption=True, random_crop=True, color_aug=True)

    def make(name: str | None = "ink") -> StyleDataset:
        return StyleDataset(style_of(bucketed(subset, batch_size=2), name=name))

    forwards, backwards = make(), make()
    one = {index: forwards.batch(index, 7) for index in range(20)}
    two = {index: backwards.batch(index, 7) for index in reversed(range(20))}
    assert one == two
    assert one != {index: forwards.batch(index, 8) for index in range(20)}
    assert one != {index: make("dots").batch(index, 7) for index in range(20)}
    assert one != {index: make(None).batch(index, 7) for index in range(20)}


def test_the_order_changes_from_epoch_to_epoch_and_with_the_seed(folder: Path) -> None:
    data = StyleDataset(style_of(bucketed(SubsetConfig(folder))))
    orders = {tuple(seen(data, epoch, seed)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9


def test_buckets_take_turns_in_an_epoch(folder: Path) -> None:
    data = StyleDataset(style_of(bucketed(SubsetConfig(folder))))
    buckets = [batch.pictures[0].placement.bucket for batch in batches(data)]
    changes = sum(one != other for one, other in zip(buckets, buckets[1:], strict=False))
    assert changes > 2  # three buckets one after another would change twice


def test_half_of_the_pictures_are_flipped_and_only_where_asked(folder: Path) -> None:
    flipped = dataset_of(SubsetConfig(folder, 20, flip_aug=True), batch_size=4)
    share = np.mean([flip for batch in batches(StyleDataset(style_of(flipped))) for flip in batch.flipped])
    assert 0.35 < share < 0.65
    plain = StyleDataset(style_of(dataset_of(SubsetConfig(folder, 20))))
    assert not any(flip for batch in batches(plain) for flip in batch.flipped)


def test_captions_are_augmented_without_touching_the_picture(folder: Path) -> None:
    data = StyleDataset(
        style_of(dataset_of(SubsetConfig(folder, 5, shuffle_caption=True, keep_tokens=1), batch_size=4))
    )
    pairs = [pair for batch in batches(data) for pair in zip(batch.pictures, batch.captions, strict=True)]
    assert all(set(caption.split(", ")) == set(picture.caption.split(", ")) for picture, caption in pairs)
    assert all(caption.split(", ")[0] == picture.caption.split(", ")[0] for picture, caption in pairs)
    assert len({caption for _, caption in pairs}) > 20
    assert all(picture in data.pictures for picture, _ in pairs)


def test_random_crops_lie_inside_and_vary(folder: Path) -> None:
    data = StyleDataset(style_of(dataset_of(SubsetConfig(folder, 8, random_crop=True), resolution=(32, 32))))
    placements = [
        picture.placement for batch in batches(data) for picture in batch.pictures if picture.size == (128, 64)
    ]
    assert {p.top for p in placements} == {0}
    assert all(0 <= p.left <= 32 for p in placements)
    assert len({p.left for p in placements}) > 5
    assert {p.placement.left for p in data.pictures} == {0, 16}  # the pictures themselves keep the centre


def test_a_third_of_the_pictures_change_colour_when_asked(folder: Path) -> None:
    data = StyleDataset(style_of(dataset_of(SubsetConfig(folder, 30, color_aug=True))))
    shifts = [picture.color for batch in batches(data) for picture in batch.pictures]
    drawn = [shift for shift in shifts if shift is not None]
    assert 0.23 < len(drawn) / len(shifts) < 0.43
    assert all((shift.hue == 0) != (shift.gamma == 1) for shift in drawn)
    assert all(abs(shift.hue) <= 16 and 0.95 <= shift.gamma <= 1.05 for shift in drawn)
    coloured = next(b for b in batches(data) if b.pictures[0].color and b.pictures[0].color.hue)
    plain = replace(coloured, pictures=[replace(coloured.pictures[0], color=None)])
    assert not torch.equal(data.images(coloured), data.images(plain))


def test_images_are_the_cropped_and_flipped_pixels(folder: Path) -> None:
    data = StyleDataset(style_of(dataset_of(SubsetConfig(folder, flip_aug=True), resolution=(40, 32), batch_size=11)))
    batch = data.batch(0, 0)
    assert batch.images is None
    images = data.images(batch)
    assert (images.shape, images.dtype) == ((11, 3, 32, 40), torch.float32)
    assert {True, False} == set(batch.flipped)
    for image, picture, flip in zip(images, batch.pictures, batch.flipped, strict=True):
        place = picture.placement
        pixels = area_mean(np.asarray(Image.open(picture.path)), place.resized)
        cut = pixels[place.top : place.top + 32, place.left : place.left + 40]
        expected = torch.tensor(cut[:, ::-1].copy() if flip else cut).permute(2, 0, 1) / 127.5 - 1
        torch.testing.assert_close(image, expected.float(), atol=0.501 / 127.5, rtol=0)  # rounded to a level


def test_a_picture_that_changes_its_size_during_training_is_named(tmp_path: Path) -> None:
    data = StyleDataset(style_of(dataset_of(SubsetConfig(draw_folder(tmp_path, [(64, 64)])))))
    draw(tmp_path / "00.png", (32, 64))
    with pytest.raises(DataError, match=r"00\.png: the picture had 64x64 pixels .* has 32x64 now"):
        data.images(data.batch(0, 0))


@pytest.mark.parametrize(
    ("repeats", "learned", "expected"),
    [
        ([1, 1, 1], 3, [1, 1, 1]),
        ([1, 1, 1], 2, [1, 1, 0]),
        ([2, 2, 2], 3, [2, 2, 0]),
        ([1, 1, 1], 7, [3, 2, 2]),
        ([3], 10, [10]),
        ([], 10, []),
    ],
)
def test_regularisation_pictures_are_repeated_until_they_are_enough(
    repeats: list[int], learned: int, expected: list[int]
) -> None:
    assert regularization_repeats(repeats, learned) == expected


def test_regularisation_pictures_carry_their_weight_and_fill_the_epoch(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = draw_folder(tmp_path / "few", [(64, 64)] * 2)
    style = style_of(bucketed(SubsetConfig(folder), SubsetConfig(few, is_reg=True)))
    data = StyleDataset(style, prior_loss_weight=0.5)
    assert Counter(p.loss_weight for p in data.pictures) == {1.0: 11, 0.5: 2}
    counts = Counter(p.path for batch in batches(data) for p in batch.pictures if p.loss_weight == 0.5)
    assert counts == {few / "00.png": 6, few / "01.png": 5}
    assert {p.loss_weight for p in StyleDataset(style).pictures} == {1.0}
    assert not caplog.records


def test_regularisation_pictures_that_are_too_many_are_told(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = draw_folder(tmp_path, [(64, 64)] * 2)
    data = StyleDataset(style_of(dataset_of(SubsetConfig(few), SubsetConfig(folder, is_reg=True))))
    assert len(data.pictures) == 4
    assert "9 of 11 regularisation pictures are not used" in caplog.text


def test_a_dataset_of_regularisation_pictures_alone_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="are regularisation pictures; put them into"):
        StyleDataset(style_of(dataset_of(SubsetConfig(folder, is_reg=True))))


def test_a_style_without_datasets_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"style ink: no \[\[datasets\]\]"):
        StyleDataset(StyleData("ink", None, ()))


def test_a_folder_without_pictures_is_named_with_the_extensions(tmp_path: Path) -> None:
    draw(tmp_path / "below" / "a.png")
    with pytest.raises(DataError) as caught:
        StyleDataset(style_of(dataset_of(SubsetConfig(tmp_path))))
    assert f"no picture in {tmp_path}; looked for .png, .jpg, .jpeg, .webp, .bmp" in str(caught.value)


def test_pictures_without_a_readable_header_are_all_named_at_once(tmp_path: Path) -> None:
    folders = [draw_folder(tmp_path / name, [(64, 64)] * 2) for name in ("one", "two")]
    for folder in folders:
        (folder / "01.png").write_bytes(b"")
    truncate(folders[0] / "00.png")
    with pytest.raises(DataError) as caught:
        StyleDataset(style_of(dataset_of(*map(SubsetConfig, folders))))
    bad = [folders[0] / "00.png", folders[0] / "01.png", folders[1] / "01.png"]
    assert [str(path) in str(caught.value) for path in bad] == [True] * 3
    assert str(folders[1] / "00.png") not in str(caught.value)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_verify_names_every_picture_that_cannot_be_decoded(tmp_path: Path) -> None:
    data = StyleDataset(style_of(dataset_of(SubsetConfig(draw_folder(tmp_path, [(64, 64)] * 4)))))
    data.verify()
    truncate(tmp_path / "01.png")
    with pytest.raises(DataError, match=r"01\.png: the picture is damaged"):
        data.verify()
    truncate(tmp_path / "03.png")
    with pytest.raises(DataError, match=r"(?s)2 pictures cannot be read:.*01\.png.*03\.png"):
        data.verify()


def test_a_sliver_is_named_with_its_file(tmp_path: Path) -> None:
    draw(tmp_path / "thin.png", (8, 64))
    with pytest.raises(DataError, match=r"thin\.png: a picture of 8x64"):
        StyleDataset(style_of(bucketed(SubsetConfig(tmp_path), bucket_no_upscale=True)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r'2 of 3 pictures have no caption file \(00\.caption\).*did you mean caption_extension = "\.txt"\?'),
        ({"caption_extension": ".text"}, r"3 of 3 pictures have no caption file \(00\.text\)"),
        ({"class_tokens": "a house"}, None),
    ],
)
def test_missing_captions_are_told_once_with_the_likely_extension(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict, message: str | None
) -> None:
    draw_folder(tmp_path, [(64, 64)] * 3, captions=False)
    for name in ("00.txt", "01.txt", "02.caption"):
        (tmp_path / name).write_text("a caption")
    with caplog.at_level(logging.WARNING):
        StyleDataset(style_of(dataset_of(SubsetConfig(tmp_path, **settings))))
    if message is None:
        assert not caplog.records
    else:
        assert len(caplog.records) == 1
        assert re.search(message, caplog.text)
