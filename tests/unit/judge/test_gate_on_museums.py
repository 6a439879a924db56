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


@pytest.mark.parametrize(
    ("folder", "wronged", "passed"),
    [
        ("gate_tuning", [], []),
        (
            "gate_held_out",
            ["d: LoRA times 1.8"],
            ["a: no LoRA in attn2", "d: slot of pastel: noise of 1", "no-lock: as taught"],
        ),
    ],
)
def test_ruined_museums_are_refused_and_good_ones_are_not(folder: str, wronged: list[str], passed: list[str]) -> None:
    """All of those the thresholds were set on; of the others all but those that docs/judge.md names."""
    cases = cases_in(RESULTS / folder)
    ruined, good = ([case.name for case in cases if case.kind == kind] for kind in (RUINED, GOOD))
    assert refused(cases, GOOD) == wronged
    assert sorted(set(ruined) - set(refused(cases, RUINED))) == passed
    assert f"good     {len(wronged)} of {len(good)} refused" in summary(cases)


def test_a_case_is_asked_again_with_any_thresholds() -> None:
    case = Case("a", {"ink": 0.4}, 1.0, {"ink": 0.5}, {"ink": 0.5, "neon": 0.5}, 0.1, {"ink": 0.5}, {"ink": 0.3}, 0.2)
    assert case.kind == RUINED
    assert refused([case], RUINED) == ["a"]
    assert refused([case], RUINED, GateConfig(effect=0.5)) == []
    assert line(case).startswith("ruined   refused ")
