"""How long a style takes, and what is due when, as sd-scripts has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.schema import OutputConfig, PreviewConfig, TrainingConfig
from museum_plugin.train.batch_order import BatchOrder
from museum_plugin.train.calendar import Calendar, calendar_for, preview_due, saves_due

TEN = Calendar(steps=10, steps_per_epoch=4)
"""Two and a half epochs."""


def saved(calendar: Calendar, **settings: object) -> dict[int, list[str]]:
    """Step -> suffixes of the files written after it."""
    output = OutputConfig(Path("out"), "mine", **settings)  # type: ignore[arg-type]
    due = {done: [save.suffix for save in saves_due(output, calendar, done)] for done in range(1, calendar.steps + 1)}
    return {done: suffixes for done, suffixes in due.items() if suffixes}


def kept(calendar: Calendar, state: bool = False, **settings: object) -> list[str]:
    """Suffixes of the files, or of the states, that are there in the end."""
    output = OutputConfig(Path("out"), "mine", **settings)  # type: ignore[arg-type]
    there: list[str] = []
    for done in range(1, calendar.steps + 1):
        for save in saves_due(output, calendar, done):
            there.append(save.suffix)
            expired = save.expired_state if state else save.expired
            there = [suffix for suffix in there if suffix != expired]
    return there


@pytest.mark.parametrize(
    ("epochs", "accumulated", "batches", "processes", "expected"),
    [
        (None, 1, 5, 1, Calendar(1600, 5)),
        (3, 1, 5, 1, Calendar(15, 5)),
        (3, 2, 5, 1, Calendar(9, 3)),
        (3, 2, 5, 2, Calendar(6, 2)),
    ],
)
def test_epochs_are_those_of_the_style_s_pictures(
    epochs: int | None, accumulated: int, batches: int, processes: int, expected: Calendar
) -> None:
    training = TrainingConfig(epochs=epochs, gradient_accumulation_steps=accumulated)

    assert calendar_for(training, BatchOrder(batches, accumulated, processes)) == expected


def test_the_last_epoch_may_be_cut_short() -> None:
    assert TEN.epochs == 3
    assert {done: TEN.epoch_ended(done) for done in (1, 4, 5, 8, 10)} == {1: None, 4: 1, 5: None, 8: 2, 10: 3}


def test_files_of_steps_and_epochs() -> None:
    assert saved(TEN) == {}
    assert saved(TEN, save_every_n_steps=5) == {5: ["-step00000005"]}, "the end has a file of its own"
    assert saved(TEN, save_every_n_epochs=1) == {4: ["-000001"], 8: ["-000002"]}
    assert saved(TEN, save_every_n_epochs=2) == {8: ["-000002"]}
    assert saved(TEN, save_every_n_epochs=1, save_every_n_steps=8) == {4: ["-000001"], 8: ["-step00000008", "-000002"]}


@pytest.mark.parametrize(
    ("ratio", "epochs"), [(1, []), (2, [5]), (3, [3, 6, 9]), (10, list(range(1, 10))), (99, [*range(1, 10)])]
)
def test_a_ratio_is_at_least_so_many_files(ratio: int, epochs: list[int]) -> None:
    calendar = Calendar(steps=20, steps_per_epoch=2)

    found = saved(calendar, save_n_epoch_ratio=ratio, save_every_n_epochs=7)

    assert found == {2 * epoch: [f"-{epoch:06d}"] for epoch in epochs}


def test_only_the_last_epochs_stay() -> None:
    calendar = Calendar(steps=12, steps_per_epoch=2)
    settings = {"save_every_n_epochs": 1, "save_last_n_epochs": 2}
    assert kept(calendar, **settings) == ["-000004", "-000005"]
    assert kept(calendar, state=True, **settings) == ["-000004", "-000005"]
    assert kept(calendar, state=True, save_last_n_epochs_state=1, **settings) == ["-000005"]
    assert kept(calendar, save_last_n_epochs_state=1, **settings) == ["-000004", "-000005"]


def test_only_the_last_steps_stay() -> None:
    """sd-scripts counts steps here, not files: after step 50 with 20 to keep, that of step 20 goes."""
    calendar = Calendar(steps=60, steps_per_epoch=100)
    settings = {"save_every_n_steps": 10, "save_last_n_steps": 20}
    assert kept(calendar, **settings) == ["-step00000030", "-step00000040", "-step00000050"]
    assert kept(calendar, state=True, save_last_n_steps_state=10, **settings) == ["-step00000040", "-step00000050"]


def test_previews_are_numbered_by_step_or_by_epoch() -> None:
    def due(**settings: object) -> dict[int, str]:
        preview = PreviewConfig(**settings)  # type: ignore[arg-type]
        found = {done: preview_due(preview, TEN, done) for done in range(11)}
        return {done: number for done, number in found.items() if number is not None}

    assert due() == {}
    assert due(at_first=True) == {0: "e000000"}
    assert due(every_n_steps=5) == {5: "000005", 10: "000010"}
    assert due(every_n_epochs=1, every_n_steps=5) == {4: "e000001", 8: "e000002", 10: "e000003"}
    assert due(every_n_epochs=2) == {8: "e000002"}
