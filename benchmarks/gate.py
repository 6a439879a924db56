"""Whether the gate refuses the ruined museums and no other, by what a classifier says of them.

python -m benchmarks.gate [--results benchmarks/results/forgetting] [--kept 0.6] [--drift 0.3]

Reads what `benchmarks/forgetting.py` wrote: museums after their second to last style, taught by several methods. By the
pocket classifier a museum is ruined if an old style scores less than half of what it did when it was learned, or if
fewer than half of the pictures without a trigger are drawn as the base draws them; it is good if every old style has
four fifths of its score and nine tenths of those pictures are as the base's. What lies between is neither. The gate
sees nothing of that classifier: it decides by the judge that is in every run. Its thresholds were chosen on seed 0.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.forgetting import Result
from museum_plugin.config.schema import GateConfig

RUINED, BETWEEN, GOOD = "ruined", "between", "good"


@dataclass(frozen=True)
class Judged:
    """One museum as the classifier and as the judge see it."""

    kind: str
    """ruined | between | good, by the classifier."""
    kept: float
    """The least that an old style kept, by the judge."""
    drift: float

    def is_refused(self, gate: GateConfig) -> bool:
        """What the gate would say."""
        return self.kept < gate.kept or self.drift > gate.drift


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
    rows = zip(result.matrix, result.no_trigger, result.judged_kept, result.judged_drift, strict=False)
    for i, (row, flat, kept, drift) in enumerate(rows):
        if i > 0:
            shares = [row[j] / max(result.matrix[j][j], 1e-9) for j in range(i)]
            yield Judged(kind_of(shares, flat / max(result.base_flat, 1e-9)), min(kept.values()), drift)


def main() -> None:
    """Print how many of each kind are refused."""
    default = GateConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/forgetting"))
    parser.add_argument("--kept", type=float, default=default.kept)
    parser.add_argument("--drift", type=float, default=default.drift)
    args = parser.parse_args()
    gate = GateConfig(kept=args.kept, drift=args.drift)
    chosen: list[Judged] = []
    others: list[Judged] = []
    for file in sorted(args.results.glob("*.json")):
        result = Result(**json.loads(file.read_text()))
        (others if result.seed else chosen).extend(museums(result))
    print(f"{'':28}{RUINED:>18}{BETWEEN:>18}{GOOD:>18}")
    for label, group in (("seed 0 (thresholds chosen)", chosen), ("other seeds", others)):
        cells = ""
        for kind in (RUINED, BETWEEN, GOOD):
            verdicts = [judged.is_refused(gate) for judged in group if judged.kind == kind]
            cells += f"{f'{sum(verdicts)} of {len(verdicts)} refused':>18}"
        print(f"{label:28}{cells}")
    for kind in (RUINED, GOOD):
        same = [judged for judged in (*chosen, *others) if judged.kind == kind]
        kept, drift = [judged.kept for judged in same], [judged.drift for judged in same]
        print(f"{kind}: kept {min(kept):.2f} to {max(kept):.2f}, drift {min(drift):.2f} to {max(drift):.2f}")


if __name__ == "__main__":
    main()
