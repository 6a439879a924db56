from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.dataset import StyleDataset
from tests.unit.data.drawn import bucketed, dataset_of, draw_folder, style_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pictures"), [(64, 64), (128, 64), (40, 80)])


def fingerprint(folder: Path, prior_loss_weight: float = 1.0, settings: dict | None = None, **subset: object) -> str:
    dataset = bucketed(SubsetConfig(folder, **subset), **(settings or {}))
    return StyleDataset(style_of(dataset), prior_loss_weight=prior_loss_weight).fingerprint


def test_the_fingerprint_knows_neither_paths_nor_times(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "one", [(64, 64), (128, 64), (64, 64)])
    before = fingerprint(folder)
    assert len(before) == 64
    assert before == fingerprint(folder)
    moved = tmp_path / "two" / "deep"
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)
    for extension in ("png", "caption"):  # other names in another order
        (moved / f"00.{extension}").rename(moved / f"zz.{extension}")
    assert fingerprint(moved) == before
    for file in moved.glob("*.caption"):
        file.rename(file.with_suffix(".txt"))
    assert fingerprint(moved, caption_extension=".txt") == before


def test_the_fingerprint_changes_with_pixels_captions_and_number(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(64, 64), (64, 64)])
    prints = [fingerprint(folder)]
    raw = bytearray((folder / "00.png").read_bytes())
    (folder / "00.png").write_bytes(bytes(raw) + b"\0")
    prints.append(fingerprint(folder))
    (folder / "00.caption").write_text("another")
    prints.append(fingerprint(folder))
    swapped = (folder / "01.caption").read_text()
    (folder / "01.caption").write_text("another")
    (folder / "00.caption").write_text(swapped)
    prints.append(fingerprint(folder))
    shutil.copy(folder / "00.png", folder / "02.png")
    prints.append(fingerprint(folder, class_tokens=swapped))
    (folder / "02.png").unlink()
    (folder / "01.png").unlink()
    prints.append(fingerprint(folder))
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_changes_with_each_setting_that_changes_training(folder: Path) -> None:
    changed = [
        {"settings": {"resolution": (64, 80)}},
        {"settings": {"batch_size": 2}},
        {"settings": {"min_bucket_reso": 48}},
        {"settings": {"bucket_no_upscale": True}},
        {"settings": {"enable_bucket": False}},
        {"num_repeats": 2},
        {"flip_aug": True},
        {"random_crop": True},
        {"color_aug": True},
        {"shuffle_caption": True},
        {"keep_tokens": 1},
        {"caption_prefix": "ink"},
        {"caption_suffix": "ink"},
        {"caption_dropout_rate": 0.1},
        {"caption_tag_dropout_rate": 0.1},
    ]
    prints = [fingerprint(folder), *(fingerprint(folder, **change) for change in changed)]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_knows_the_weight_of_regularisation_pictures(folder: Path) -> None:
    style = style_of(dataset_of(SubsetConfig(folder), SubsetConfig(folder, is_reg=True)))
    assert StyleDataset(style).fingerprint != StyleDataset(style, prior_loss_weight=0.5).fingerprint
