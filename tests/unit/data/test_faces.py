"""Crops around faces, as sd-scripts' face_crop_aug_range."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.buckets import Placement
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.faces import Face, face_crop, face_of
from tests.unit.data.drawn import bucketed, dataset_of, draw, draw_folder, style_of


@pytest.mark.parametrize(
    ("name", "face"),
    [
        ("a_100_50_30_40.png", Face(100, 50, 40)),
        ("two_words_7_8_90_9.jpg", Face(7, 8, 90)),
        ("100_50_30_40.png", None),  # no name before the fields
        ("a_0_50_30_40.png", None),
        ("a_100_50_0_0.png", None),
        ("a_b_c_d_e.png", None),
        ("a_100_50_30_4x.png", None),
        ("picture.png", None),
    ],
)
def test_a_file_name_tells_its_face(name: str, face: Face | None) -> None:
    assert face_of(Path(name)) == face


class Drawn(random.Random):
    """Gives what it was told, and remembers what it was asked."""

    def __init__(self, *values: float) -> None:
        super().__init__(0)
        self.values = list(values)
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return self.values.pop(0)

    def randint(self, a: int, b: int) -> int:
        self.asked.append((a, b))
        return int(self.values.pop(0))


def test_the_crop_is_centred_on_the_face_and_shaken_a_little() -> None:
    # 1000x800 with a face of 100 at (600, 300), crop 64x64, range 1..2: covering 64/800 = 0.08,
    # smallest 64/(100*2) = 0.32, largest 64/(100*1) = 0.64. Drawn 0.5: 500x400, the face at (300, 150).
    # Its place: 150 - 32 = 118, 300 - 32 = 268, each shaken by up to 100/20 = 5.
    rng = Drawn(0.5, 5, -3)
    crop = face_crop((1000, 800), (64, 64), Face(600, 300, 100), (1.0, 2.0), False, rng)
    assert crop == Placement((64, 64), (500, 400), 268 - 3, 118 + 5)
    assert rng.asked == [(0.32, 0.64), (-5, 5), (-5, 5)]


def test_without_a_range_nothing_is_drawn() -> None:
    # range 2..2: scale 64/200 = 0.32: 320x256, the face at (192, 96)
    rng = Drawn()
    crop = face_crop((1000, 800), (64, 64), Face(600, 300, 100), (2.0, 2.0), False, rng)
    assert crop == Placement((64, 64), (320, 256), 160, 64)
    assert rng.asked == []


@pytest.mark.parametrize("face", [Face(600, 300, 39), Face(600, 300, 45)])
def test_a_small_face_is_not_shaken(face: Face) -> None:
    # 39 is below 40 pixels; 45 is below a tenth of a crop of 460
    rng = Drawn(0.9)
    crop = (64, 64) if face.size < 40 else (500, 460)
    face_crop((1000, 800), crop, face, (0.9, 100.0), False, rng)
    assert len(rng.asked) == 1


def test_with_random_crop_the_face_may_leave_the_middle() -> None:
    # scale 0.32: 320x256, face (192, 96). Down: reach max(256 - 96, 96) = 160: 96 - 32 + 100 + 20 - 160 = 24.
    # Across: reach max(320 - 192, 192) = 192: 192 - 32 + 0 + 10 - 192 = -22, moved inside: 0.
    rng = Drawn(100, 20, 0, 10)
    crop = face_crop((1000, 800), (64, 64), Face(600, 300, 100), (2.0, 2.0), True, rng)
    assert crop == Placement((64, 64), (320, 256), 0, 24)
    assert rng.asked == [(0, 160), (0, 160), (0, 192), (0, 192)]


def test_the_crop_stays_inside_and_the_picture_covers_it() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        size, crop = (rng.randint(20, 900), rng.randint(20, 900)), (rng.choice([64, 96]), 64)
        face = Face(rng.randint(1, size[0]), rng.randint(0, size[1]), rng.randint(1, 300))
        found = face_crop(size, crop, face, (1.0, 3.0), rng.random() < 0.5, rng)
        assert found.bucket == crop
        assert 0 <= found.left <= found.resized[0] - crop[0]
        assert 0 <= found.top <= found.resized[1] - crop[1]


def test_a_picture_is_never_enlarged_beyond_covering() -> None:
    # a face of 10 in a crop of 64 with range 1..1 would ask for 6.4 times
    assert face_crop((200, 100), (64, 64), Face(50, 50, 10), (1.0, 1.0), False, Drawn()).resized == (200, 100)
    assert face_crop((32, 40), (64, 64), Face(9, 9, 10), (1.0, 1.0), False, Drawn()).resized == (64, 80)


def test_a_picture_of_the_size_of_the_crop_stays() -> None:
    assert face_crop((64, 64), (64, 64), Face(9, 9, 10), (1.0, 2.0), True, Drawn()) == Placement(
        (64, 64), (64, 64), 0, 0
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture with a face on the right, and one without."""
    draw(tmp_path / "a_160_40_40_40.png", (200, 100))
    draw(tmp_path / "plain.png", (200, 100))
    return tmp_path


def test_a_batch_crops_around_the_face_anew_every_time(folder: Path) -> None:
    data = StyleDataset(style_of(dataset_of(SubsetConfig(folder, face_crop_aug_range=(1.0, 2.0)), resolution=(32, 32))))
    shown = [data.batch(index, 0).pictures[0] for index in range(40)]
    faces = [p.placement for p in shown if p.path.name != "plain.png"]
    assert len({p.resized for p in faces}) > 10
    assert all(80 <= p.resized[0] <= 160 for p in faces)  # 32 / (40 * 2) = 0.4 to 0.8
    assert {p.placement for p in shown if p.path.name == "plain.png"} == {data.pictures[1].placement}
    assert [data.batch(index, 0).pictures[0] for index in range(40)] == shown


def test_in_buckets_faces_count_for_nothing_and_that_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data = StyleDataset(style_of(bucketed(SubsetConfig(folder, face_crop_aug_range=(1.0, 2.0), class_tokens="x"))))
    assert caplog.messages == [f"face_crop_aug_range ({folder}): does nothing with enable_bucket"]
    plain = StyleDataset(style_of(bucketed(SubsetConfig(folder, class_tokens="x"))))
    assert [data.batch(i, 0) for i in range(6)] == [plain.batch(i, 0) for i in range(6)]


def test_faces_change_no_random_number_of_other_pictures(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path, [(100, 80)] * 3)
    usual = {"flip_aug": True, "shuffle_caption": True, "random_crop": True}
    one, other = (
        StyleDataset(style_of(dataset_of(SubsetConfig(folder, **usual, face_crop_aug_range=faces), batch_size=3)))
        for faces in (None, (1.0, 2.0))
    )
    for index in range(5):
        a, b = one.batch(index, 0), other.batch(index, 0)
        assert (a.captions, a.flipped) == (b.captions, b.flipped)
        assert [p.placement for p in a.pictures] == [p.placement for p in b.pictures]
