"""Which pictures are trained on."""

from __future__ import annotations

import json
import logging
import random
import shutil
from pathlib import Path

import pytest

from museum_plugin.config.schema import DatasetConfig, SubsetConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.images import picture_digest
from museum_plugin.data.selection import held_out
from museum_plugin.errors import DataError
from tests.unit.data.drawn import bucketed, dataset_of, draw_folder, style_of


def trained(data: StyleDataset) -> list[str]:
    return [picture.path.name for picture in data.pictures]


def validated(data: StyleDataset) -> list[str]:
    return [picture.path.name for batch in data.validation for picture in batch.pictures]


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        (None, ["00.png", "01.png", "02.png", "03.png"]),
        ((31, 32), ["00.png", "01.png", "02.png", "03.png"]),
        ((32, 32), ["01.png", "02.png", "03.png"]),
        ((64, 24), ["02.png", "03.png"]),  # 48x32 has as many pixels as 64x24
    ],
)
def test_pictures_of_no_more_pixels_are_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, skip: tuple[int, int] | None, left: list[str]
) -> None:
    folder = draw_folder(tmp_path, [(32, 32), (48, 32), (64, 32), (64, 64)])
    with caplog.at_level(logging.INFO):
        data = StyleDataset(style_of(dataset_of(SubsetConfig(folder), skip_image_resolution=skip)))
    assert trained(data) == left
    said = (
        [f"{4 - len(left)} of 4 pictures have no more pixels than {skip[0]}x{skip[1]} and are skipped"] if skip else []
    )
    assert caplog.messages == (said if len(left) < 4 else [])


def test_a_dataset_of_its_own_skips_what_it_says(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(32, 32), (64, 64)])
    low = dataset_of(SubsetConfig(folder), resolution=(32, 32))
    high = dataset_of(SubsetConfig(folder), skip_image_resolution=(32, 32))
    assert trained(StyleDataset(style_of(low, high))) == ["00.png", "01.png", "01.png"]


def test_skipping_all_is_refused(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(32, 32), (64, 64)])
    with pytest.raises(DataError, match=rf"skip_image_resolution: all 2 pictures of {folder} have no more pixels than"):
        StyleDataset(style_of(dataset_of(SubsetConfig(folder), skip_image_resolution=(64, 64))))


@pytest.mark.parametrize(("count", "split", "wanted"), [(10, 0.2, 2), (7, 0.5, 4), (3, 0.5, 2), (9, 0.05, 0)])
def test_the_last_of_the_shuffled_pictures_are_held_out(count: int, split: float, wanted: int) -> None:
    folder = Path("a")
    paths = [folder / f"{i:02d}.png" for i in range(count)]
    dataset = DatasetConfig((SubsetConfig(folder),), (64, 64), validation_split=split, validation_seed=5)
    held = held_out([(dataset, {dataset.subsets[0]: dict.fromkeys(paths, (64, 64))})], str)
    shuffled = list(paths)
    random.seed(5)  # sd-scripts shuffles with the global generator
    random.shuffle(shuffled)
    assert held == set(shuffled[count - wanted :])


def test_no_picture_is_on_both_sides_and_none_is_lost(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64)] * 7 + [(128, 64)] * 4)
    data = StyleDataset(style_of(bucketed(SubsetConfig(folder, 3), validation_split=0.4, batch_size=2)))
    assert len(validated(data)) == round(11 * 0.4)
    assert sorted(trained(data) + validated(data)) == [f"{i:02d}.png" for i in range(11)]
    epoch = [p.path.name for i in range(data.batches_per_epoch) for p in data.batch(i, 0).pictures]
    assert sorted(set(epoch)) == sorted(trained(data))
    for batch in data.validation:
        assert len({p.placement.bucket for p in batch.pictures}) == 1
        assert 1 <= len(batch.pictures) <= 2


def test_the_split_depends_on_its_own_seed_only(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64)] * 12)

    def split(name: str = "ink", **settings: object) -> list[str]:
        changed = {"validation_split": 0.25, **settings}
        return validated(StyleDataset(style_of(dataset_of(SubsetConfig(folder), **changed), name=name)))

    assert split() == split(validation_seed=0) == split(batch_size=4) == split("other")
    assert len({tuple(sorted(split(validation_seed=seed))) for seed in range(4)}) > 1
    random.seed(1)
    before = random.getstate()
    split()
    assert random.getstate() == before


def test_copies_stay_on_one_side_in_every_folder_and_dataset(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "one", [(64, 64)] * 8)
    for i in range(8):
        shutil.copy(folder / f"{i:02d}.png", folder / f"copy{i}.png")
    other = tmp_path / "two"
    shutil.copytree(folder, other)
    for seed in range(5):
        first = dataset_of(SubsetConfig(folder, class_tokens="x"), validation_split=0.25, validation_seed=seed)
        second = dataset_of(SubsetConfig(other, class_tokens="x"), resolution=(32, 32))
        data = StyleDataset(style_of(first, second))
        held = {picture_digest(p.path) for batch in data.validation for p in batch.pictures}
        left = {picture_digest(p.path) for p in data.pictures}
        assert len(held) == 2
        assert len(validated(data)) == 4  # the second dataset validates nothing
        assert not held & left
        assert len(data.pictures) == 12 + 12


def test_regularisation_pictures_are_not_split(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "one", [(64, 64)] * 4)
    prior = draw_folder(tmp_path / "two", [(32, 64)] * 4)
    data = StyleDataset(
        style_of(dataset_of(SubsetConfig(folder), SubsetConfig(prior, is_reg=True), validation_split=0.5))
    )
    assert len(validated(data)) == 2
    assert {p.path.parent for batch in data.validation for p in batch.pictures} == {folder}
    assert sum(p.subset.is_reg for p in data.pictures) == 2


def test_held_out_pictures_are_shown_as_they_are(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(80, 64)] * 4)
    wild = SubsetConfig(
        folder, flip_aug=True, random_crop=True, shuffle_caption=True, caption_dropout_rate=1.0, caption_prefix="ink"
    )
    data = StyleDataset(style_of(dataset_of(wild, validation_split=0.5)))
    for batch in data.validation:
        for picture, caption, flip in zip(batch.pictures, batch.captions, batch.flipped, strict=True):
            assert caption == f"ink picture {int(picture.path.stem)}, red, round, small"
            assert (flip, picture.placement.left) == (False, 8)


def test_the_captions_of_held_out_pictures_are_whole_and_always_the_same(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64)] * 2)
    for number in range(2):
        (folder / f"{number:02d}.caption").write_text("a {red|blue} cat ||| round; small\na dog", encoding="utf-8")
    wild = SubsetConfig(
        folder,
        caption_prefix="{ink|neon}",
        enable_wildcard=True,
        keep_tokens_separator="|||",
        secondary_separator=";",
        token_warmup_step=1000,
        caption_dropout_every_n_epochs=1,
    )
    data = StyleDataset(style_of(dataset_of(wild, validation_split=0.5)))
    assert [batch.captions for batch in data.validation] == [["ink a red cat, round, small"]]


def test_a_metadata_file_is_split_and_skipped_like_a_folder(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "one", [(64, 64)] * 4)
    draw_folder(tmp_path / "two", [(32, 32)] + [(64, 64)] * 4)
    entries = [f"one/{i:02d}.png" for i in range(2)] + [f"two/{i:02d}.png" for i in range(5)]
    files = []
    for name, keys in (("some", entries), ("rest", [f"one/{i:02d}.png" for i in (2, 3)])):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({key: {"caption": f"{name} {key}"} for key in keys}), encoding="utf-8")
        files.append(SubsetConfig(tmp_path, metadata_file=file))
    data = StyleDataset(style_of(dataset_of(*files, skip_image_resolution=(32, 32), validation_split=0.5)))
    shown = [*data.pictures, *(picture for batch in data.validation for picture in batch.pictures)]
    wanted = [
        *(("some", key) for key in entries if key != "two/00.png"),
        ("rest", "one/02.png"),
        ("rest", "one/03.png"),
    ]
    assert sorted(p.caption for p in shown) == sorted(f"{name} {key}" for name, key in wanted)
    assert folder / "02.png" in {p.path for p in shown}
    assert len(validated(data)) == round(6 * 0.5) + round(2 * 0.5)
    with pytest.raises(DataError, match=rf"skip_image_resolution: all 7 pictures of {files[0].metadata_file} have"):
        StyleDataset(style_of(dataset_of(files[0], skip_image_resolution=(64, 64))))


def test_holding_out_everything_is_refused(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64)] * 2)
    with pytest.raises(DataError, match="validation_split: all 2 pictures of .* are held out"):
        StyleDataset(style_of(dataset_of(SubsetConfig(folder), validation_split=0.9)))


def test_without_a_split_no_picture_is_read() -> None:
    folder = Path("a")
    dataset = DatasetConfig((SubsetConfig(folder),), (64, 64))

    def never(path: Path) -> str:
        raise AssertionError(path)

    assert held_out([(dataset, {dataset.subsets[0]: {folder / "a.png": (64, 64)}})], never) == frozenset()


def test_a_damaged_picture_that_is_held_out_is_found_too(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64)] * 4)
    data = StyleDataset(style_of(dataset_of(SubsetConfig(folder), validation_split=0.5)))
    path = data.validation[0].pictures[0].path
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=path.name):
        data.verify()
