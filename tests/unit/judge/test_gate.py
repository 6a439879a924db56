"""The gate: what a verdict has against a museum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from museum_plugin.config.schema import GateConfig
from museum_plugin.errors import ConfigError
from museum_plugin.judge.gate import is_learned, objections
from museum_plugin.judge.retention import Verdict

BEFORE = {"ink": 0.8, "dots": 0.5}


def verdict(ink: float = 0.8, dots: float = 0.5, neon: float = 0.7, drift: float = 0.05) -> Verdict:
    scores = {"ink": ink, "dots": dots, "neon": neon}
    return Verdict(tuple(scores), scores, drift, {name: name for name in scores}, {})


def test_a_museum_that_kept_everything_passes() -> None:
    assert objections(verdict(), BEFORE, GateConfig()) == []


def test_each_threshold_counts_and_is_named() -> None:
    lost = verdict(ink=0.4, drift=0.4)
    assert objections(lost, BEFORE, GateConfig()) == [
        "ink keeps 50 % of its score (gate_kept: 60 %)",
        "no trigger: drift 0.40 (gate_drift: 0.3)",
    ]
    assert objections(lost, BEFORE, GateConfig(kept=0.5)) == ["no trigger: drift 0.40 (gate_drift: 0.3)"]
    assert objections(lost, BEFORE, GateConfig(kept=0.5, drift=0.4)) == []
    assert objections(verdict(), BEFORE, GateConfig(learned=0.75)) == ["neon reaches 0.70 (gate_learned: 0.75)"]


def known(effect: float = 0.9, pictures: float = 0.1, neutral: float = 0.1, **scores: float) -> Verdict:
    """Of `ink` it is known what it did when it was learned."""
    found = verdict(**scores)
    return replace(found, effect_kept={"ink": effect}, pictures_moved={"ink": pictures}, neutral_moved=neutral)


def test_what_a_style_did_when_it_was_learned_counts() -> None:
    assert objections(known(), BEFORE, GateConfig()) == []
    lost = known(effect=0.4, pictures=0.7, neutral=0.8)
    assert objections(lost, BEFORE, GateConfig()) == [
        "ink keeps 40 % of its effect (gate_effect: 58 %)",
        "ink: pictures moved 0.70 (gate_pictures: 0.6)",
        "no trigger: predictions moved 0.80 (gate_neutral: 0.5)",
    ]
    assert objections(lost, BEFORE, GateConfig(effect=0.4, pictures=0.7, neutral=0.8)) == []
    assert objections(known(effect=-0.5), BEFORE, GateConfig()) == ["ink keeps 0 % of its effect (gate_effect: 58 %)"]
    assert objections(known(effect=-2), BEFORE, GateConfig(effect=-2)) == [], "nothing is asked"


def test_the_score_of_a_style_of_which_more_is_known_counts_only_if_asked_for() -> None:
    assert objections(known(ink=0.1), BEFORE, GateConfig()) == []
    assert objections(known(ink=0.4), BEFORE, GateConfig(kept=0.6)) == ["ink keeps 50 % of its score (gate_kept: 60 %)"]
    assert objections(known(dots=0.1), BEFORE, GateConfig()) == ["dots keeps 20 % of its score (gate_kept: 60 %)"]


def test_the_last_that_passes_is_the_threshold_itself() -> None:
    assert objections(verdict(ink=0.4, drift=0.3), BEFORE, GateConfig(kept=0.5, drift=0.3)) == []


def test_styles_that_cannot_be_measured_have_no_say() -> None:
    """A score near 0 is noise, and so is a drift whose scale is the distance to such styles."""
    assert objections(verdict(ink=0.0), {"ink": 0.19, "dots": 0.5}, GateConfig()) == []
    assert objections(known(pictures=0.9), {"ink": 0.19, "dots": 0.5}, GateConfig()) == []
    assert objections(known(effect=0.1), {"ink": 0.19, "dots": 0.5}, GateConfig()), "predictions are no statistics"
    faint = replace(verdict(ink=0.05, dots=0.0, neon=0.02, drift=0.9), neutral_moved=0.9)
    assert objections(faint, {"ink": 0.05, "dots": 0.19}, GateConfig()) == []
    assert objections(verdict(ink=0.05, dots=0.0, drift=0.9), {"ink": 0.05, "dots": 0.19}, GateConfig())


def test_a_style_is_learned_at_its_score_if_the_others_are_kept() -> None:
    assert not is_learned(verdict(), BEFORE, GateConfig()), "nobody asked"
    target = GateConfig(judge_every=1, stop_when_learned=0.7)
    assert is_learned(verdict(neon=0.7), BEFORE, target)
    assert not is_learned(verdict(neon=0.69), BEFORE, target)
    assert not is_learned(verdict(ink=0.4), BEFORE, target)
    assert not is_learned(verdict(drift=0.4), BEFORE, target)
    assert not is_learned(verdict(), BEFORE, GateConfig(judge_every=1, stop_when_learned=0.7, learned=0.9))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"extra_steps": -1}, "gate_extra_steps: found -1"),
        ({"judge_every": 0}, "judge_every: found 0"),
        ({"judge_every": 5, "stop_when_learned": 1.5}, "stop_when_learned: found 1.5, allowed: 0 to 1"),
        ({"stop_when_learned": 0.5}, "stop_when_learned: found 0.5 without judge_every"),
    ],
)
def test_what_cannot_be_done_in_training_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GateConfig(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"kept": 1.1}, {"learned": -0.1}, {"drift": -1.0}, {"effect": 1.1}, {"pictures": -0.1}, {"neutral": -0.1}]
)
def test_thresholds_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"gate_{next(iter(wrong))}: found"):
        GateConfig(**wrong)  # type: ignore[arg-type]
