"""The gate, through the real command: a museum that falls short does not replace the one before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from museum_plugin.museum.file import read_ledger, read_museum, write_museum
from museum_plugin.museum.ledger import AS_LEARNED
from tests.recipes.conftest import Teach
from tests.recipes.mistakes import snapshot
from tests.recipes.school import School

OPEN = ("--gate_effect=-9", "--gate_pictures=9", "--gate_drift=9", "--gate_neutral=9")
HIGH = ("--method=finetune", "--gate=on", "--gate_learned=1")


def test_a_museum_that_falls_short_is_kept_beside_the_one_before(knows_ink: School, teach: Teach) -> None:
    before = snapshot(knows_ink.museum)

    done = teach(knows_ink.command(*HIGH, styles=("neon",)))

    beside = knows_ink.museum.with_name("mine.refused-1.safetensors")
    assert done.code == 8
    assert snapshot(knows_ink.museum) == before
    assert [record.name for record in read_ledger(beside).styles] == ["ink", "neon"]
    assert len(done.errors) == 2
    assert "(gate_learned: 1)" in done.errors[0]
    assert str(beside) in done.errors[0]
    assert "--gate off" in done.errors[1]
    assert list((knows_ink.folder / "out").glob("*neon*grid.png"))

    assert teach(knows_ink.command(*HIGH, styles=("neon",))).code == 8, "the style is taught anew"
    assert beside.with_name("mine.refused-2.safetensors").exists()


def test_a_museum_is_held_to_what_it_did_when_it_was_learned(knows_ink: School, teach: Teach) -> None:
    done = teach(knows_ink.command("--gate=on", *OPEN, "--gate_effect=1", styles=("neon",)))
    assert done.code == 8
    assert "of its effect (gate_effect: 100 %)" in done.errors[0]
    assert done.errors[0].count("gate_") == 1, "by nothing else"


def test_a_style_of_an_earlier_museum_is_measured_before_it_is_changed(knows_ink: School, teach: Teach) -> None:
    content = read_museum(knows_ink.museum)
    (ink,) = content.ledger.styles
    known = {AS_LEARNED: ink.extra[AS_LEARNED]}
    extra = {name: value for name, value in ink.extra.items() if name != AS_LEARNED}
    ledger = replace(content.ledger, styles=(replace(ink, extra=extra),))
    write_museum(knows_ink.museum, replace(content, ledger=ledger), keep_history=0)

    assert teach(knows_ink.command("--learning_rate=1", styles=("neon",))).code == 0

    again, neon = read_ledger(knows_ink.museum).styles
    assert {AS_LEARNED: again.extra[AS_LEARNED]} == known
    assert neon.extra[AS_LEARNED]["effect"] != known[AS_LEARNED]["effect"]


def test_the_gate_can_be_left_open(knows_ink: School, teach: Teach) -> None:
    assert teach(knows_ink.command(*HIGH, "--gate=off", styles=("neon",))).code == 0
    assert [record.name for record in read_ledger(knows_ink.museum).styles] == ["ink", "neon"]


def test_a_first_style_is_saved_with_a_warning(school: School, teach: Teach, caplog: pytest.LogCaptureFixture) -> None:
    assert teach(school.command(*HIGH)).code == 0
    assert school.museum.exists()
    assert "no earlier museum to keep" in caplog.text
