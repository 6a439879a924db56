"""What old styles are expected to keep, and the fit behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from benchmarks.retention import is_held_out, read
from benchmarks.retention_fit import Guess, Row, error, fit, forecast, guessed_by, method_mean, rows_of, without_overlap
from museum_plugin.config.schema import MethodConfig, OptimizerConfig
from museum_plugin.train.overlap import Overlap
from museum_plugin.train.retention_forecast import (
    FITTED,
    HOLDING,
    Course,
    features,
    held_by,
    keeps_with,
    kept_share_of,
    takes_even_steps,
)
from museum_plugin.train.schedule import sum_of_rates
from tests.recipes.school import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "retention"
MILD = Overlap({"no trigger": 1e-6, "ink": 1e-5}, {"no trigger": 1e-3, "ink": 1e-2}, length=40.0, numbers=10_000)
USUAL = Course("museum", 1.0, 0.3)


def test_features_and_share_by_hand() -> None:
    found = features(MILD, "ink", Course("paper", 0.5, rates=0.8))
    assert found == pytest.approx(
        {"paper": 1.0, "overlap": math.log(1e-3), "travel": math.log(0.8 * 100 / 40), "hold": math.log(0.5)}
    )
    weights = {"paper": 1.0, "overlap": -1.0, "travel": 0.5, "hold": 2.0}
    total = 1 - math.log(1e-3) + 0.5 * math.log(2) + 2 * math.log(0.5)
    assert kept_share_of(found, weights) == pytest.approx(1 / (1 + math.exp(-total)))


@pytest.mark.parametrize(
    ("harder", "course"),
    [
        (MILD, replace(USUAL, rates=3.0)),
        (MILD, replace(USUAL, hold=0.05)),
        (MILD, replace(USUAL, method="finetune")),
        (replace(MILD, moved={"no trigger": 1e-6, "ink": 1e-4}), USUAL),
        (replace(MILD, effect={"no trigger": 1e-3, "ink": 1e-3}), USUAL),
        (replace(MILD, length=4.0), USUAL),
        (replace(MILD, numbers=1_000_000), USUAL),
    ],
)
def test_less_is_kept_of_a_harder_lesson(harder: Overlap, course: Course) -> None:
    easy, hard = keeps_with(MILD, USUAL), keeps_with(harder, course)
    assert set(easy) == set(hard) == {"ink"}, "prompts without a trigger are no style"
    assert 0 < hard["ink"] < easy["ink"] < 1


def test_a_museum_that_does_nothing_yet_has_a_forecast() -> None:
    nothing = Overlap({"ink": 0.0}, {"ink": 0.0}, length=0.0, numbers=0.0)
    assert all(0 <= share <= 1 for share in keeps_with(nothing, replace(USUAL, rates=0.0)).values())


LOCKS = {"function_lock": 3.0, "feature_lock": 3.0}


@pytest.mark.parametrize(
    ("method", "weights", "found"),
    [
        ("museum", {}, ("museum", 1.0)),
        ("paper", {}, ("paper", 1.0)),
        ("finetune", {}, ("finetune", 1.0)),
        ("museum", {"function_lock": 0.3, "feature_lock": 0.3}, ("museum", 0.1)),
        ("museum", {"function_lock": 0.0, "feature_lock": 0.0}, ("finetune", 1.0)),
        ("finetune", LOCKS, ("museum", 1.0)),
        ("paper", {"style_distillation": 0.0}, ("paper", 1.0)),
        ("museum", {"style_distillation": 0.1}, ("museum", 1.0)),
        ("museum", {"function_lock": 0.0, "feature_lock": 6.0}, None),
        ("museum", {"elastic_weights": 1.0}, None),
        ("ewc", {}, None),
    ],
)
def test_what_holds_old_styles_is_known_by_its_terms(
    method: str, weights: dict[str, float], found: tuple[str, float] | None
) -> None:
    held = held_by(MethodConfig(method, weights))
    assert (held and held[0]) == (found and found[0])
    assert held is None or held[1] == pytest.approx(found and found[1])


def test_more_hold_than_was_tried_counts_as_what_was_tried() -> None:
    assert keeps_with(MILD, replace(USUAL, hold=30.0)) == keeps_with(MILD, USUAL)


@pytest.mark.parametrize(
    ("schedule", "more", "total"),
    [
        ("constant", {}, 0.01 * 100),
        ("linear", {}, 0.01 * 50.5),
        ("constant_with_warmup", {"warmup_steps": 20}, 0.01 * (80 + 9.5)),
        ("cosine", {}, 0.01 * 50.5),
    ],
)
def test_rates_of_a_schedule_added_up(schedule: str, more: dict[str, int], total: float) -> None:
    config = OptimizerConfig(name="AdamW", schedule=schedule, **more)  # type: ignore[arg-type]
    assert sum_of_rates(config, 0.01, 100) == pytest.approx(total, rel=1e-6)


def test_rates_are_those_of_the_schedule_s_own_idea() -> None:
    """OneCycleLR takes no notice of the learning rate that was given."""
    given = {"max_lr": 0.1, "total_steps": 101}
    config = OptimizerConfig(name="AdamW", schedule_class="OneCycleLR", schedule_arguments=given)
    assert 0.1 * 100 * 0.3 < sum_of_rates(config, 0.001, 100) < 0.1 * 100


@pytest.mark.parametrize(
    ("name", "even"),
    [
        *((name, True) for name in ("", "AdamW8bit", "bitsandbytes.optim.PagedAdamW", "Lion", "RAdamScheduleFree")),
        *((name, False) for name in ("Prodigy", "DAdaptAdam", "DAdaptLion", "SGDNesterov", "Adafactor")),
    ],
)
def test_optimizers_that_move_every_number_by_the_learning_rate(name: str, even: bool) -> None:
    assert takes_even_steps(name) is even


def test_a_fit_finds_the_weights_that_made_the_rows() -> None:
    rng, weights = Random(1), {"museum": 1.0, "overlap": -2.0, "travel": -0.5}
    rows = []
    for trial in range(60):
        found = {"museum": 1.0, "overlap": rng.uniform(-2, 1), "travel": rng.uniform(-1, 3)}
        rows += [Row(trial, found, kept_share_of(found, weights))] * (1 + trial % 3)
    assert fit(rows, list(weights)) == pytest.approx(weights, abs=0.15)
    assert error([(row, kept_share_of(row.features, weights)) for row in rows]) == pytest.approx(0, abs=1e-9)


def test_each_trial_weighs_alike() -> None:
    """A trial of many old styles has no more say than one of a single one."""
    few, many = Row(0, {"museum": 1.0}, 0.2), Row(1, {"museum": 1.0}, 0.8)
    weights = fit([few, *[many] * 9], ["museum"])
    assert kept_share_of({"museum": 1.0}, weights) == pytest.approx(0.5, abs=0.01)


@pytest.fixture(scope="module")
def rows() -> tuple[list[Row], list[Row]]:
    """Those that are fitted, and the held-out ones."""
    outcomes = [read(file) for file in sorted(RESULTS.glob("*.json"))]
    parts = [[row for o in outcomes if is_held_out(o.trial) is out for row in rows_of(o)] for out in (False, True)]
    return parts[0], parts[1]


def test_the_numbers_in_use_are_those_of_the_trials(rows: tuple[list[Row], list[Row]]) -> None:
    assert set(FITTED) == {*HOLDING, "hold", "overlap", "travel", "overlap, unheld", "travel, unheld"}
    assert fit(rows[0], list(FITTED)) == pytest.approx(FITTED, abs=0.02)


def test_it_is_nearer_to_a_museum_it_was_not_fitted_on_than_guesses_that_know_less(
    rows: tuple[list[Row], list[Row]],
) -> None:
    known, held_out = rows

    def missed(learn: Callable[[Sequence[Row]], Guess]) -> float:
        return error(guessed_by(learn(known), held_out))

    assert missed(forecast) < 0.95 * missed(without_overlap)
    assert missed(forecast) < 0.95 * missed(method_mean)
