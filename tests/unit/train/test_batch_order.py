"""Epochs of pictures are epochs of the calendar, however batches, micro-steps and processes divide."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from museum_plugin.config.schema import TrainingConfig
from museum_plugin.train.batch_order import BatchOrder
from museum_plugin.train.calendar import calendar_for


def taken(order: BatchOrder, steps: range) -> list[int]:
    """The batches of one process in these steps."""
    return [order.index(step, micro) for step in steps for micro in range(order.micro_steps(step))]


def test_a_step_after_another_takes_a_batch_after_another() -> None:
    assert taken(BatchOrder(5), range(12)) == list(range(12))


def test_the_last_step_of_an_epoch_has_what_is_left() -> None:
    order = BatchOrder(5, accumulated=3)
    assert order.steps_per_epoch == 2
    assert [order.micro_steps(step) for step in range(4)] == [3, 2, 3, 2]
    assert [taken(order, range(step, step + 1)) for step in range(4)] == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]]


def test_a_process_without_a_batch_begins_the_epoch_anew() -> None:
    orders = [BatchOrder(5, accumulated=2, processes=2, process=process) for process in range(2)]
    assert [taken(order, range(2)) for order in orders] == [[0, 2, 4], [1, 3, 0]]
    assert [taken(order, range(2, 4)) for order in orders] == [[5, 7, 9], [6, 8, 5]]


@pytest.mark.parametrize("batches", [1, 2, 5, 12])
@pytest.mark.parametrize("accumulated", [1, 2, 5, 16])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_an_epoch_of_the_calendar_shows_every_batch_of_its_epoch(
    batches: int, accumulated: int, processes: int
) -> None:
    orders = [BatchOrder(batches, accumulated, processes, process) for process in range(processes)]
    calendar = calendar_for(TrainingConfig(epochs=3), orders[0])
    for epoch in range(3):
        steps = range(epoch * calendar.steps_per_epoch, (epoch + 1) * calendar.steps_per_epoch)
        assert calendar.epoch_ended(steps.stop) == epoch + 1
        shown = Counter(index for order in orders for index in taken(order, steps))
        assert set(shown) == set(range(epoch * batches, (epoch + 1) * batches))
        more = sum(shown.values()) - batches
        assert 0 <= more < processes, "only to fill up the last micro-step"


def test_places_go_on_over_steps_and_epochs() -> None:
    order = BatchOrder(3, accumulated=2)
    assert list(islice(order.places_from(0, 1), 5)) == [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0)]
