"""A card with too little room is told of at the start; where there is no card, nothing is looked at."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from benchmarks.lessons import first_lesson, run_config
from museum_plugin.base.folder import empty_networks
from museum_plugin.base.outline import read_outline
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.train import little_room
from museum_plugin.train.dry_run import Subject
from museum_plugin.train.forecast import GIB, OUTSIDE, Forecast, Forecaster
from museum_plugin.train.little_room import forecast_on, shortage, warn_of_little_room

FOUND = Forecast(4 * GIB, GIB, 0, 0, 0, 0, 2 * GIB, 0, 0)


def test_a_shortage_is_told_with_what_to_do() -> None:
    needed = FOUND.total - OUTSIDE
    told = shortage(FOUND, needed - 1)
    assert told is not None
    assert "need 7.1 GiB of the card, and 7.1 are there" in told
    assert "museum_plugin check" in told
    assert shortage(FOUND, needed) is None


def test_the_forecast_of_a_loaded_base_is_that_of_its_files(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_config("finetune", 0, Path("unused"), "ink", [])
    lessons = [(run.styles[0], StyleDataset(run.styles[0]))]
    with first_lesson(run) as (room, lesson):
        museum, word = room.museum, room.museum.slots.slots[lesson.name].words
        found = forecast_on(run, museum, lessons)
        outline = read_outline(run.base)
        subject = Subject((128, 128), 4, (128, 128), word)
        assert found == Forecaster(outline, empty_networks(outline), subject).forecast(run)
        assert forecast_on(run, museum, []) is None

        warn_of_little_room(run, museum, lessons)
        assert not caplog.records  # no card here
        monkeypatch.setattr(little_room, "free_memory", lambda device: 2**20)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**20)
        with caplog.at_level(logging.WARNING, logger="museum"):
            warn_of_little_room(run, museum, lessons)
        assert "It may stop" in caplog.text
