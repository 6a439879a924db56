"""Pictures opened ahead are those that would have been opened in turn."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest
import torch

from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import DataError
from museum_plugin.train.batch_order import BatchOrder
from museum_plugin.train.reader import BatchReader
from tests.unit.data.drawn import bucketed, draw_folder, style_of


@pytest.fixture
def data(tmp_path: Path) -> StyleDataset:
    folder = draw_folder(tmp_path, [(64, 64)] * 5 + [(128, 64)] * 2)
    subset = SubsetConfig(folder, flip_aug=True, random_crop=True, shuffle_caption=True, color_aug=True)
    return StyleDataset(style_of(bucketed(subset, batch_size=2)))


def one_by_one(data: StyleDataset) -> BatchOrder:
    return BatchOrder(data.batches_per_epoch)


@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize(("start", "accumulated", "processes"), [(0, 1, 1), (5, 1, 1), (1, 2, 1), (0, 3, 2)])
def test_neither_threads_nor_where_it_starts_change_a_number(
    data: StyleDataset, threads: int, start: int, accumulated: int, processes: int
) -> None:
    order = BatchOrder(data.batches_per_epoch, accumulated, processes)
    reader = BatchReader(data, 7, order, threads=threads)
    for place in islice(order.places_from(start, 0), 12):
        batch, expected = reader.batch(*place), data.batch(order.index(*place), 7)
        assert (batch.pictures, batch.captions, batch.flipped) == (
            expected.pictures,
            expected.captions,
            expected.flipped,
        )
        assert batch.images is not None
        assert torch.equal(batch.images, data.images(expected))
    reader.close()


def test_what_was_passed_over_is_not_kept(data: StyleDataset) -> None:
    """Of a step that is left out, the last batches are never asked for."""
    reader = BatchReader(data, 7, one_by_one(data), threads=2)
    for step in range(0, 40, 4):
        assert reader.batch(step).captions == data.batch(step, 7).captions
    reader.close()
    assert sorted(reader._ahead) == [(37, 0), (38, 0)]


@pytest.mark.parametrize("threads", [0, 3])
def test_captions_know_how_far_the_training_is(tmp_path: Path, threads: int) -> None:
    """Two processes with two micro-steps each: four batches are one step."""
    folder = draw_folder(tmp_path, [(64, 64)] * 8)
    subset = SubsetConfig(folder, token_warmup_min=1, token_warmup_step=0.5)
    data = StyleDataset(style_of(bucketed(subset, batch_size=2)))
    reader = BatchReader(data, 7, BatchOrder(4, accumulated=2, processes=2, process=1), threads=threads, steps=8)
    shown = [reader.batch(step, micro).captions for step in range(8) for micro in range(2)]
    reader.close()
    assert shown == [data.batch(index, 7, step=index // 4, steps=8).captions for index in range(1, 32, 2)]
    assert [captions[0].count(",") for captions in shown] == [0] * 4 + [1] * 2 + [2] * 2 + [3] * 8


def test_without_threads_nothing_is_opened(data: StyleDataset) -> None:
    before = threading.active_count()
    reader = BatchReader(data, 7, one_by_one(data), threads=0)
    assert reader.batch(3) == data.batch(3, 7)
    assert threading.active_count() == before
    reader.close()


def test_the_next_batches_are_begun_and_no_more(data: StyleDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    monkeypatch.setattr(data, "images", lambda batch: opened.append(1) or torch.zeros(1))
    reader = BatchReader(data, 7, one_by_one(data), threads=3)
    for done in range(1, 5):
        reader.batch(done)
    reader.close()
    assert 4 <= len(opened) <= 4 + 3


def test_a_damaged_picture_is_told_with_its_own_batch(data: StyleDataset) -> None:
    index = next(i for i in range(20) if data.batch(i, 7).pictures[0].path == data.pictures[0].path)
    reader = BatchReader(data, 7, one_by_one(data), threads=2)
    bad = data.pictures[0].path
    bad.write_bytes(bad.read_bytes()[:300])
    used = [any(p.path == bad for p in data.batch(i, 7).pictures) for i in range(index + 1)]
    first = used.index(True)
    for i in range(first):
        reader.batch(i)
    with pytest.raises(DataError, match=bad.name):
        reader.batch(first)
    reader.close()
