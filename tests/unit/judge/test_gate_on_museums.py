"""The gate with its own thresholds, on the museums that were measured for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gate import GOOD, RUINED
from benchmarks.gate_held_out import Case, cases_in, line, summary
from museum_plugin.config.schema import GateConfig

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def refused(cases: list[Case], kind: str, gate: GateConfig | None = None) -> list[str]:
    return [case.name for case in cases if case.kind == kind and case.objections(gate or GateConfig())]


@pytest.mark.parametrize(("folder", "right"), [("gate_tuning", 1.0), ("gate_held_out", 0.93)])
def test_ruined_museums_are_refused_and_good_ones_are_not(folder: str, right: float) -> None:
    """All of those the thresholds were set on, nearly all of the others."""
    cases = cases_in(RESULTS / folder)
    ruined, good = (sum(case.kind == kind for case in cases) for kind in (RUINED, GOOD))
    stopped, wronged = len(refused(cases, RUINED)), len(refused(cases, GOOD))
    assert stopped >= right * ruined > 0
    assert good - wronged >= right * good > 0
    assert f"good     {wronged} of {good} refused" in summary(cases)


def test_a_case_is_asked_again_with_any_thresholds() -> None:
    case = Case("a", {"ink": 0.4}, 1.0, {"ink": 0.5}, {"ink": 0.5, "neon": 0.5}, 0.1, {"ink": 0.5}, {"ink": 0.3}, 0.2)
    assert case.kind == RUINED
    assert refused([case], RUINED) == ["a"]
    assert refused([case], RUINED, GateConfig(effect=0.5)) == []
    assert line(case).startswith("ruined   refused ")
