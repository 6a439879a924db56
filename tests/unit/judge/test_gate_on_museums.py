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


@pytest.mark.parametrize("folder", ["gate_tuning", "gate_held_out"])
def test_no_good_museum_is_refused_and_hardly_a_ruined_one_accepted(folder: str) -> None:
    cases = cases_in(RESULTS / folder)
    ruined = [case for case in cases if case.kind == RUINED]
    assert refused(cases, GOOD) == []
    assert len(refused(cases, RUINED)) >= 0.8 * len(ruined) > 0
    good = sum(case.kind == GOOD for case in cases)
    assert f"good     0 of {good} refused" in summary(cases)


def test_a_case_is_asked_again_with_any_thresholds() -> None:
    case = Case("a", {"ink": 0.4}, 1.0, {"ink": 0.5}, {"ink": 0.5, "neon": 0.5}, 0.1, {"ink": 0.5}, {"ink": 0.3}, 0.2)
    assert case.kind == RUINED
    assert refused([case], RUINED) == ["a"]
    assert refused([case], RUINED, GateConfig(effect=0.5)) == []
    assert line(case).startswith("ruined   refused ")
