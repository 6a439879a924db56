"""What a check tells of pictures and captions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.buckets import Placement
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.images import unreadable
from museum_plugin.data.inspection import BucketCount, bucket_counts, cropped_share, cropping, survey_captions
from museum_plugin.errors import DataError
from tests.unit.data.drawn import bucketed, dataset_of, draw_folder, style_of


def words(prompts: list[str]) -> list[int]:
    return [len(prompt.split()) for prompt in prompts]


def test_the_share_that_a_crop_cuts_off() -> None:
    assert cropped_share(Placement((64, 64), (64, 64), 0, 0)) == 0
    assert cropped_share(Placement((64, 64), (128, 64), 32, 0)) == 0.5


def test_mean_and_worst_crop_with_the_worst_picture(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "a", [(64, 64), (128, 64), (64, 256)])
    found = cropping(StyleDataset(style_of(dataset_of(SubsetConfig(folder)))).pictures)
    assert found.mean == pytest.approx((0 + 0.5 + 0.75) / 3)
    assert (found.worst, found.worst_picture) == (0.75, folder / "02.png")
    assert cropping([]).worst_picture is None


def test_buckets_count_pictures_and_repeats(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "a", [(64, 64), (64, 64), (128, 32)])
    dataset = StyleDataset(style_of(bucketed(SubsetConfig(folder, num_repeats=3))))
    assert bucket_counts(dataset) == (BucketCount(64, 64, 2, 6), BucketCount(128, 32, 1, 3))


def test_captions_are_counted(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "a", [(64, 64)] * 5)
    (folder / "00.caption").write_text("Zorvex, red", encoding="utf-8")
    (folder / "01.caption").write_text("red, round", encoding="utf-8")
    (folder / "02.caption").write_text("red, round", encoding="utf-8")
    (folder / "03.caption").write_text("a, b, c, d, e", encoding="utf-8")
    (folder / "04.caption").unlink()
    subset = SubsetConfig(folder, caption_prefix="art,", shuffle_caption=True, caption_dropout_rate=0.9)
    pictures = StyleDataset(style_of(dataset_of(subset))).pictures

    found = survey_captions(pictures, "zorvex", words, token_limit=8)

    assert (found.written, found.class_tokens, found.missing, found.duplicates) == (4, 0, 1, 1)
    assert found.with_trigger == 1
    assert found.frequent_tags == (("art", 5), ("red", 3), ("round", 2))
    assert found.distinct_tags == 9
    assert (found.too_long, found.most_tokens, found.longest_caption) == (1, 9, folder / "03.png")  # in zorvex style
    assert survey_captions(pictures, "zorvex", words, token_limit=9).too_long == 0
    assert survey_captions(pictures, "", words, token_limit=9).most_tokens == 6
    assert survey_captions(pictures, "zorvex", None, 0).too_long is None


def test_class_tokens_stand_for_captions_and_prior_pictures_are_left_out(tmp_path: Path) -> None:
    learned = SubsetConfig(draw_folder(tmp_path / "a", [(64, 64)] * 2, captions=False), class_tokens="a cat")
    prior = SubsetConfig(draw_folder(tmp_path / "b", [(64, 64)]), is_reg=True)
    pictures = StyleDataset(style_of(dataset_of(learned, prior))).pictures
    found = survey_captions(pictures, "", words, token_limit=75)
    assert (found.written, found.class_tokens, found.missing) == (0, 2, 0)


def test_everything_that_is_wrong_with_pictures_is_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "a", [(64, 64)] * 4)
    (folder / "01.png").write_bytes(b"not a picture")
    (folder / "02.caption").write_bytes("café".encode("latin-1"))
    empty = tmp_path / "empty"
    empty.mkdir()
    style = style_of(dataset_of(SubsetConfig(folder)), dataset_of(SubsetConfig(empty)))
    problems = Problems(gather=True)

    dataset = StyleDataset(style, problems=problems)

    told = [str(error) for error in problems.found]
    assert len(told) == 3
    for part in ("01.png", "02.caption", str(empty)):
        assert [line for line in told if part in line]
    assert [picture.path.name for picture in dataset.pictures] == ["00.png", "03.png"]
    with pytest.raises(DataError):
        StyleDataset(dataclasses.replace(style))


def test_what_is_wrong_with_metadata_files_is_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "a", [(64, 64)] * 3, captions=False)
    (folder / "m.json").write_text(
        json.dumps({"00": {"caption": "red"}, "01": {"caption": 3}, "02": {"tags": "dots"}, "07": {"caption": "gone"}}),
        encoding="utf-8",
    )
    (folder / "broken.json").write_text("{", encoding="utf-8")
    subsets = [SubsetConfig(folder, metadata_file=folder / name) for name in ("m.json", "broken.json")]
    problems = Problems(gather=True)

    dataset = StyleDataset(style_of(*map(dataset_of, subsets)), problems=problems)

    told = [str(error) for error in problems.found]
    assert len(told) == 3
    for part in ("01: caption: found 3", "1 of 4 pictures are not in", "broken.json: not valid JSON"):
        assert [line for line in told if part in line], part
    assert [(picture.path.name, picture.caption) for picture in dataset.pictures] == [
        ("00.png", "red"),
        ("02.png", "dots"),
    ]
    found = survey_captions(dataset.pictures, "", words, token_limit=75)
    assert (found.written, found.class_tokens, found.missing) == (2, 0, 0)


def test_settings_that_leave_no_picture_are_noted_beside_the_rest(tmp_path: Path) -> None:
    small, large = (SubsetConfig(draw_folder(tmp_path / n, [(s, s)] * 2)) for n, s in (("s", 64), ("l", 96)))
    (small.image_dir / "00.caption").write_bytes("café".encode("latin-1"))
    first, second = (dataset_of(s, skip_image_resolution=(64, 64)) for s in (small, large))
    problems = Problems(gather=True)

    dataset = StyleDataset(style_of(first, second, dataset_of(small, validation_split=0.9)), problems=problems)

    told = [str(error) for error in problems.found]
    assert len(told) == 3
    for part in ("00.caption", "skip_image_resolution: all 1 pictures", "validation_split: all 1 pictures"):
        assert [line for line in told if part in line], part
    assert [picture.path.parent.name for picture in dataset.pictures] == ["l", "l"]


def test_pictures_are_all_decoded(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "a", [(64, 64)] * 3)
    for name in ("00.png", "02.png"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    found = unreadable(sorted(folder.glob("*.png")))
    assert [Path(str(error).partition(":")[0]).name for error in found] == ["00.png", "02.png"]
