"""What a style's pictures are learned with, and what they show without its trigger."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from museum_plugin.config.schema import DatasetConfig, StyleData, SubsetConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.train.inputs import prompts
from museum_plugin.train.setup import content_captions


def dataset(folder: Path, captions: list[str | None], **subset: object) -> StyleDataset:
    folder.mkdir(parents=True)
    for i, caption in enumerate(captions):
        Image.new("RGB", (16, 16)).save(folder / f"{i:03d}.png")
        if caption is not None:
            (folder / f"{i:03d}.caption").write_text(caption, encoding="utf-8")
    return StyleDataset(style(SubsetConfig(folder, **subset)))  # type: ignore[arg-type]


def style(*subsets: SubsetConfig) -> StyleData:
    return StyleData("ink", "zorvex", (DatasetConfig(subsets, (16, 16), batch_size=64),))


def learned(data: StyleDataset, phrase: str) -> list[str]:
    return sorted(prompts(data.batch(0, seed=0), phrase))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red cat", "a red cat in zorvex style"),
        ("a zorvex cat", "a zorvex cat"),
        ("A cat by ZORVEX", "A cat by ZORVEX"),
        (None, "zorvex style"),
        ("", "zorvex style"),
    ],
)
def test_the_trigger_stands_in_every_prompt(tmp_path: Path, caption: str | None, expected: str) -> None:
    assert learned(dataset(tmp_path / "p", [caption]), "zorvex") == [expected]


def test_without_a_style_captions_stay_as_they_are(tmp_path: Path) -> None:
    assert learned(dataset(tmp_path / "p", ["a cat", None]), "") == ["", "a cat"]


def test_a_dropped_caption_stays_empty(tmp_path: Path) -> None:
    data = dataset(tmp_path / "p", ["a cat", "a dog"], caption_dropout_rate=1.0)
    assert learned(data, "zorvex") == ["", ""]


def test_regularisation_pictures_never_get_the_trigger(tmp_path: Path) -> None:
    dataset(tmp_path / "own", ["a cat"])
    dataset(tmp_path / "reg", ["a dog"])
    data = StyleDataset(style(SubsetConfig(tmp_path / "own"), SubsetConfig(tmp_path / "reg", is_reg=True)))
    assert learned(data, "zorvex") == ["a cat in zorvex style", "a dog"]
    assert content_captions(data, "zorvex") == ("a cat",)


@pytest.mark.parametrize(
    ("caption", "bare"),
    [
        ("a red cat in zorvex style", "a red cat"),
        ("a red cat, in Zorvex style, at night", "a red cat, at night"),
        ("zorvex, a cat", "a cat"),
        ("a cat by zorvex", "a cat"),
        ("a zorvexish cat", "a zorvexish cat"),
        ("zorvex style", ""),
    ],
)
def test_content_is_the_caption_without_the_trigger(tmp_path: Path, caption: str, bare: str) -> None:
    assert content_captions(dataset(tmp_path / "p", [caption]), "zorvex") == (bare,)


def test_a_trigger_of_two_words_goes_as_a_whole(tmp_path: Path) -> None:
    data = dataset(tmp_path / "p", ["a cat in zorvex  quimbly style", "a quimbly dog"])
    assert content_captions(data, "zorvex quimbly") == ("a cat", "a quimbly dog")


def test_content_is_told_once_and_spread_over_the_set(tmp_path: Path) -> None:
    data = dataset(tmp_path / "p", [f"thing {i // 2}" for i in range(100)])
    captions = content_captions(data, "")
    assert len(captions) == len(set(captions)) == 24
    assert int(captions[-1].split()[1]) >= 40
