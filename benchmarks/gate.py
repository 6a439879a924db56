"""Whether the gate refuses the ruined museums and no other, by what a classifier says of them.

python -m benchmarks.gate [--results benchmarks/results/forgetting] [--kept 0.6] [--drift 0.3]

Reads what `benchmarks/forgetting.py` wrote: museums after their second to last style, taught by several methods. By the
pocket classifier a museum is ruined if an old style scores less than half of what it did when it was learned, or if
fewer than half of the pictures without a trigger are drawn as the base draws them; it is good if every old style has
four fifths of its score and nine tenths of those pictures are as the base's. What lies between is neither. The gate
sees nothing of that classifier: it decides by the judge that is in every run, here by score and drift alone, as it
judges museums of which nothing else is known. When its thresholds were set, the figures of all these museums were
known, so this shows that they separate them, not that they would separate others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Result, read_result
from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.gate import objections
from museum_plugin.judge.retention import Verdict

RUINED, BETWEEN, GOOD = "ruined", "between", "good"


@dataclass(frozen=True)
class Judged:
    """One museum as the classifier and as the judge see it."""

    kind: str
    """ruined | between | good, by the classifier."""
    verdict: Verdict
    before: dict[str, float]
    """The judge's score of each old style right after it was learned."""

    @property
    def least_kept(self) -> float:
        """The least that an old style kept, by the judge."""
        return min(self.verdict.kept(self.before).values())


def kind_of(shares: list[float], untouched: float) -> str:
    """ruined | between | good.

    Args:
        shares: of its first score that each old style still has.
        untouched: share of pictures without trigger that are drawn as the base draws them, of the base's own.
    """
    if min(shares) < 0.5 or untouched < 0.5:
        return RUINED
    return GOOD if min(shares) >= 0.8 and untouched >= 0.9 else BETWEEN


def museums(result: Result) -> Iterator[Judged]:
    """The museums of one run of the benchmark, from the second style on."""
    rows = zip(result.matrix, result.no_trigger, result.judged, result.judged_drift, strict=False)
    for i, (row, flat, scores, drift) in enumerate(rows):
        if i == 0:
            continue
        names = tuple(result.styles[: i + 1])
        shares = [row[j] / max(result.matrix[j][j], 1e-9) for j in range(i)]
        verdict = Verdict(names, dict(zip(names, scores, strict=True)), drift, {name: name for name in names}, {})
        before = {name: result.judged[j][j] for j, name in enumerate(names[:-1])}
        yield Judged(kind_of(shares, flat / max(result.base_flat, 1e-9)), verdict, before)


def main() -> None:
    """Print how many of each kind are refused."""
    default = GateConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/forgetting"))
    parser.add_argument("--kept", type=float, default=default.kept)
    parser.add_argument("--drift", type=float, default=default.drift)
    args = parser.parse_args()
    gate = GateConfig(kept=args.kept, drift=args.drift)
    by_seed: dict[str, list[Judged]] = {}
    for file in sorted(args.results.glob("*-[0-9]*.json")):
        result = read_result(file)
        by_seed.setdefault(f"seed {result.seed}", []).extend(museums(result))
    print(f"{'':10}{RUINED:>18}{BETWEEN:>18}{GOOD:>18}")
    for label, group in by_seed.items():
        cells = ""
        for kind in (RUINED, BETWEEN, GOOD):
            verdicts = [bool(objections(j.verdict, j.before, gate)) for j in group if j.kind == kind]
            cells += f"{f'{sum(verdicts)} of {len(verdicts)} refused':>18}"
        print(f"{label:10}{cells}")
    for kind in (RUINED, GOOD):
        same = [judged for group in by_seed.values() for judged in group if judged.kind == kind]
        kept, drift = [judged.least_kept for judged in same], [judged.verdict.drift for judged in same]
        print(f"{kind}: kept {min(kept):.2f} to {max(kept):.2f}, drift {min(drift):.2f} to {max(drift):.2f}")


if __name__ == "__main__":
    main()
