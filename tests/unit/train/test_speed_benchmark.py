"""The speed benchmark: what is noted of a training script, and what is made of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import clocked
from benchmarks.memory_ladder import plot
from benchmarks.memory_ladder import table as ladder
from benchmarks.speed import MUSEUM, PLAIN, THEIRS, Measured, Place, read_result, table

SCRIPT = """
import sys
import torch
parameter = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([parameter], lr=0.1)
for _ in range(int(sys.argv[1])):
    parameter.grad = torch.ones(3)
    optimizer.step()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, side=64, steps=4, threads=1)


def test_every_step_of_a_script_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    for steps in (3, 5):
        clocked.main(str(tmp_path / "result.json"), str(tmp_path / "script.py"), [str(steps)])
        found = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
        assert len(found["stamps"]) == len(found["resident"]) == steps
        assert all(later > earlier for earlier, later in zip(found["stamps"], found["stamps"][1:], strict=False))
        assert found["peak"] >= max(found["resident"]) > 2**20


def test_of_several_styles_the_last_counts_and_its_first_steps_do_not(place: Place) -> None:
    stamps = [[0, 0], [100, 100], [200, 200], [300, 300], [310, 1000], [315, 1001], [317, 1003], [319, 1007]]
    found = {"stamps": stamps, "peak": 2**31, "resident": [2**30] * 8, "peak_on_card": None}
    assert read_result(found, place) == Measured(2, 2.0, 1.0)
    assert read_result(found, Place(place.folder, 64, 4, threads=2)).seconds == 3  # of the clock


def test_ratios_are_taken_within_a_round() -> None:
    rounds = [
        {PLAIN: Measured(1, 4, 3), MUSEUM: Measured(1.5, 4, 3), THEIRS: Measured(2, 8, 3)},
        {PLAIN: Measured(3, 4, 3), MUSEUM: Measured(4.5, 4, 3), THEIRS: Measured(6, 8, 3)},
    ]
    rows = {line.split()[0]: line.split()[1:] for line in table(rounds).splitlines()[1:]}
    assert rows == {
        PLAIN: ["2.00", "4.00", "-", "0.50", "0.50"],
        MUSEUM: ["3.00", "4.00", "-", "0.75", "0.50"],
        THEIRS: ["4.00", "8.00", "-", "1.00", "1.00"],
    }


def test_the_ladder_shows_every_rung() -> None:
    found = {"first": Measured(2, 4, 4), "second": Measured(1, 4, 1, 0.5)}
    assert [line.split() for line in ladder(found).splitlines()[1:]] == [
        ["first", "2.00", "4.00", "4.00", "-"],
        ["second", "1.00", "4.00", "1.00", "0.50"],
    ]
    image = plot(found)
    dark = [sum(image.getpixel((x, y)) == (43, 76, 126) for x in range(image.width)) for y in (35, 87)]
    assert dark[0] == pytest.approx(4 * dark[1], rel=0.02)
