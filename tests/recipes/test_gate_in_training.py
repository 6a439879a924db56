"""Judging in the midst of a style, and the extra steps before a museum is refused, through the real command."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from museum_plugin.judge.course import course_of
from museum_plugin.judge.gate import objections
from museum_plugin.museum.file import read_ledger
from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.train import extra, loop
from museum_plugin.train.setup import Lesson
from tests.recipes.conftest import Teach
from tests.recipes.school import STEPS, School, same, tensors_of
from tests.recipes.test_resume import Interrupt
from tests.recipes.test_resume import interrupt_in as interrupt_in

OPEN = ("--gate=on", "--gate_effect=-9", "--gate_pictures=9", "--gate_drift=9", "--gate_neutral=9")
"""Every museum passes."""
REFUSED = ("--gate=on", "--gate_learned=1", *OPEN[1:])
"""No tiny museum passes."""


def beside(school: School, number: int = 1) -> Path:
    return school.museum.with_name(f"mine.refused-{number}.safetensors")


def neon(path: Path) -> StyleRecord:
    return read_ledger(path).style("neon")


def test_extra_steps_follow_where_the_gate_objects(
    knows_ink: School, teach: Teach, caplog: pytest.LogCaptureFixture
) -> None:
    assert teach(knows_ink.command(*REFUSED, "--gate_extra_steps=4", styles=("neon",))).code == 8
    assert neon(beside(knows_ink)).steps == STEPS + 4
    assert caplog.text.count("so 1 extra steps follow") == 4, "judged after each of four rounds"

    assert teach(knows_ink.command(*REFUSED, styles=("neon",))).code == 8
    assert neon(beside(knows_ink, 2)).steps == STEPS
    assert not same(tensors_of(beside(knows_ink)), tensors_of(beside(knows_ink, 2)))


def test_extra_steps_end_with_the_first_round_that_passes(
    knows_ink: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter((["ink keeps 5 %"], ["ink keeps 50 %"]))
    monkeypatch.setattr(extra, "objections", lambda *given: next(rounds, []) or objections(*given))

    assert teach(knows_ink.command(*OPEN, "--gate_extra_steps=8", styles=("neon",))).code == 0
    assert neon(knows_ink.museum).steps == STEPS + 2 * 2


def test_a_museum_that_passes_gets_no_extra_step(knows_ink: School, teach: Teach) -> None:
    before = knows_ink.museum.read_bytes()
    assert teach(knows_ink.command(*OPEN, "--gate_extra_steps=4", styles=("neon",))).code == 0
    with_them = knows_ink.numbers()
    knows_ink.museum.write_bytes(before)
    assert teach(knows_ink.command(*OPEN, styles=("neon",))).code == 0
    assert same(with_them, knows_ink.numbers())


def test_extra_steps_hold_a_bank_even_where_the_method_has_none(
    knows_ink: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Lesson] = []
    whole = loop.teach_style

    def watched(room: loop.Classroom, lesson: Lesson, stop: loop.StopRequest) -> None:
        taught.append(lesson)
        whole(room, lesson, stop)

    monkeypatch.setattr(loop, "teach_style", watched)
    teach(knows_ink.command(*REFUSED, "--method=finetune", "--gate_extra_steps=1", styles=("neon",)))

    first, more = taught
    assert first.bank is None
    assert not first.training.terms
    assert more.bank is not None
    assert more.bank.groups == ("no trigger", "ink")
    assert list(more.training.terms) == ["function_lock"]
    assert "function_lock" in more.training.smooth, "it was part of the loss"


@pytest.mark.parametrize("passes", [STEPS + 1, STEPS + 2, STEPS + 3], ids=["in a round", "at its end", "later"])
def test_a_run_stopped_in_its_extra_steps_goes_on_bit_for_bit(
    knows_ink: School, teach: Teach, interrupt_in: Interrupt, passes: int
) -> None:
    command = knows_ink.command(*REFUSED, "--gate_extra_steps=8", styles=("neon",))
    assert teach(command).code == 8

    interrupt_in(signal.SIGINT, passes)
    assert teach(command).code == 130
    assert knows_ink.checkpoint.exists()
    assert teach(command).code == 8

    assert neon(beside(knows_ink, 2)).steps == STEPS + 8
    assert same(tensors_of(beside(knows_ink)), tensors_of(beside(knows_ink, 2)))


def test_a_style_is_judged_on_the_way_and_no_number_changes(
    knows_ink: School, teach: Teach, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "museum")
    before = knows_ink.museum.read_bytes()
    assert teach(knows_ink.command(styles=("neon",))).code == 0
    plain = knows_ink.numbers()
    assert course_of(neon(knows_ink.museum)) == []

    knows_ink.museum.write_bytes(before)
    logs = knows_ink.folder / "logs"
    flags = ("--judge_every=1", "--log_with=tensorboard", f"--logging_dir={logs}")
    assert teach(knows_ink.command(*flags, styles=("neon",))).code == 0

    assert same(plain, knows_ink.numbers())
    points = course_of(neon(knows_ink.museum))
    assert [point.step for point in points] == [1, 2]
    assert all(0 <= point.score <= 1 and point.drift >= 0 for point in points)
    assert "neon after step 2: " in caplog.text
    (file,) = logs.rglob("events.out.tfevents.*")
    logged = EventAccumulator(str(file.parent)).Reload().Scalars("neon/score")
    assert [(event.step, event.value) for event in logged] == [
        (point.step - 1, pytest.approx(point.score)) for point in points
    ]


def test_the_points_survive_a_stop(knows_ink: School, teach: Teach, interrupt_in: Interrupt) -> None:
    before = knows_ink.museum.read_bytes()
    command = knows_ink.command("--judge_every=1", "--max_train_steps=4", styles=("neon",))
    assert teach(command).code == 0
    unbroken, numbers = course_of(neon(knows_ink.museum)), knows_ink.numbers()
    knows_ink.museum.write_bytes(before)

    interrupt_in(signal.SIGINT, 2)
    assert teach(command).code == 130
    assert teach(command).code == 0

    assert course_of(neon(knows_ink.museum)) == unbroken
    assert [point.step for point in unbroken] == [1, 2, 3]
    assert same(numbers, knows_ink.numbers())


@pytest.mark.parametrize(("flags", "steps"), [
    (("--stop_when_learned=0", "--judge_every=2"), 2),
    (("--stop_when_learned=1", "--judge_every=2"), 5),
])  # fmt: skip
def test_a_style_stops_when_it_is_learned_and_the_rest_is_kept(
    knows_ink: School, teach: Teach, flags: tuple[str, ...], steps: int
) -> None:
    command = knows_ink.command("--max_train_steps=5", *OPEN[1:], *flags, styles=("neon",))
    assert teach(command).code == 0
    assert neon(knows_ink.museum).steps == steps
    assert not knows_ink.checkpoint.exists()
