"""Fit the forecast of what old styles keep, and see how far it holds on museums that it was not fitted on.

python -m benchmarks.retention_fit [--out benchmarks/results/retention]

Reads the trials of `benchmarks.retention`. The fit is by least squares on the share that a style keeps by the pocket
classifier, each trial weighing alike; it goes into `museum_plugin/train/retention_forecast.py`. Beside the error of the
forecast stands that of a guess that knows the method and its weight alone: the mean of the trials that were fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

from benchmarks.judge_calibration import rank_correlation
from benchmarks.retention import Outcome, is_held_out, read
from museum_plugin.train.retention_forecast import FITTED, Course, features, kept_share_of

_RIDGE = 3e-4
_MEASURABLE = 0.3
"""A style that scored less before the lesson tells nothing of what it keeps."""


@dataclass(frozen=True)
class Row:
    """One old style in one trial."""

    trial: int
    features: dict[str, float]
    kept: float
    """By the classifier, 0..1."""


def rows_of(outcome: Outcome) -> list[Row]:
    """The old styles of a trial that can be judged."""
    trial = outcome.trial
    course = Course(trial.method, trial.hold, outcome.rates)
    return [
        Row(trial.number, features(outcome.overlap, style, course), min(1.0, outcome.after[style] / before))
        for style, before in outcome.before.items()
        if before >= _MEASURABLE
    ]


def fit(rows: Sequence[Row], names: Sequence[str]) -> dict[str, float]:
    """The weights of these features with the least mean square error, each trial weighing alike."""
    table = torch.tensor([[row.features.get(name, 0.0) for name in names] for row in rows], dtype=torch.float64)
    kept = torch.tensor([row.kept for row in rows], dtype=torch.float64)
    trials = [row.trial for row in rows]
    share = torch.tensor([1 / trials.count(trial) for trial in trials], dtype=torch.float64)
    weights = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        errors = (torch.sigmoid(table @ weights) - kept).square()
        loss = (share * errors).sum() / share.sum() + _RIDGE * weights.square().sum()
        loss.backward()
        return loss

    search.step(closure)
    return dict(zip(names, weights.tolist(), strict=True))


Guess = Callable[[Row], float]


def error(guesses: Sequence[tuple[Row, float]]) -> float:
    """Mean absolute error, each trial weighing alike."""
    by_trial: dict[int, list[float]] = {}
    for row, guessed in guesses:
        by_trial.setdefault(row.trial, []).append(abs(guessed - row.kept))
    return mean(mean(found) for found in by_trial.values())


def without_overlap(rows: Sequence[Row]) -> Guess:
    """A guess that knows how a style is taught, and nothing of what its gradients do: the same fit without it."""
    weights = fit(rows, [name for name in FITTED if not name.startswith("overlap")])
    return lambda row: kept_share_of({name: x for name, x in row.features.items() if name in weights}, weights)


def method_mean(rows: Sequence[Row]) -> Guess:
    """A guess that knows the method and its weight alone."""

    def key(row: Row) -> tuple[tuple[str, float], ...]:
        return tuple((name, x) for name, x in row.features.items() if not name.startswith(("overlap", "travel")))

    found: dict[object, list[float]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row.kept)
    usual = mean(row.kept for row in rows)
    return lambda row: mean(found.get(key(row), [usual]))


def left_out(rows: Sequence[Row], learn: Callable[[Sequence[Row]], Guess]) -> list[tuple[Row, float]]:
    """Each row with what is guessed by a guess that was learned without its trial."""
    found = []
    for trial in sorted({row.trial for row in rows}):
        guess = learn([row for row in rows if row.trial != trial])
        found += guessed_by(guess, [row for row in rows if row.trial == trial])
    return found


def guessed_by(guess: Guess, rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Each row with what is guessed of it."""
    return [(row, guess(row)) for row in rows]


def forecast(rows: Sequence[Row]) -> Guess:
    """The whole formula."""
    weights = fit(rows, list(FITTED))
    return lambda row: kept_share_of(row.features, weights)


def table(known: Sequence[Row], held_out: Sequence[Row]) -> str:
    """Weights, and the errors of each guess."""
    lines = ["fitted: " + ", ".join(f"{name} {weight:+.2f}" for name, weight in fit(known, list(FITTED)).items())]
    lines.append(f"{'':34}{'left out one by one':>22}{'held-out museum':>18}{'rank correlation':>18}")
    ways = (("forecast", forecast), ("without the overlap", without_overlap), ("mean of the method", method_mean))
    for title, learn in ways:
        inner, outer = left_out(known, learn), guessed_by(learn(known), held_out)
        tied = rank_correlation([guessed for _, guessed in outer], [row.kept for row in held_out])
        lines.append(f"{title:34}{error(inner):22.3f}{error(outer):18.3f}{tied:18.2f}")
    count = len({row.trial for row in known}), len({row.trial for row in held_out})
    lines.append(f"{len(known)} old styles in {count[0]} trials, held out {len(held_out)} in {count[1]}")
    return "\n".join(lines)


def main() -> None:
    """Print the fit and its errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/retention"))
    outcomes = [read(file) for file in sorted(parser.parse_args().out.glob("*.json"))]
    rows: dict[bool, list[Row]] = {True: [], False: []}
    for outcome in outcomes:
        rows[is_held_out(outcome.trial)] += rows_of(outcome)
    print(table(rows[False], rows[True]))


if __name__ == "__main__":
    main()
