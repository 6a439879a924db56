"""What a museum loses at a smaller rank: the nearest weights against the nearest outputs on the museum's own pictures.

python -m benchmarks.compaction MUSEUM [--ranks 8 4 2 1] [--scores]

`lost` is the part of the squared change of the base's predictions that is lost, on pictures that no layer was fitted
to; `score`, with --scores, is the mean of all styles by the judge that is in every run. The base is the one that the
museum was taught on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from museum_plugin.cli.compact_on_base import Measured
from museum_plugin.museum.compact import capped, least_ranks
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.resize import with_ranks


def main() -> None:
    """Measure and print a line for each rank and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("museum", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 4, 2, 1])
    parser.add_argument("--scores", action="store_true", help="also draw and score all styles each time; slow")
    args = parser.parse_args()
    content = read_museum(args.museum)
    measured = Measured.of(args.museum, content, None)
    names = measured.before.names if measured.before else ()
    print(
        f"{'ranks':22}{'mean':>6}  {'lost, weights':>14}{'lost, pictures':>16}  {'score, weights':>15}{'pictures':>10}"
    )
    whole = sum(measured.before.scores.values()) / len(names) if measured.before else 0.0
    print(f"{'as it is':22}{'':6}  {0:14.4f}{0:16.4f}  {whole:15.3f}{whole:10.3f}", flush=True)
    for rank in args.ranks:
        even = capped(content, rank)
        share = next(s / 1000 for s in range(1, 1001) if sum(least_ranks(measured.energies, s / 1000).values())
                     <= sum(even.values()))  # fmt: skip
        for name, ranks in ((f"all {rank}", even), ("as each needs", least_ranks(measured.energies, share))):
            lost, scores = [], []
            for moments in (None, measured.moments):
                after, _ = with_ranks(content, ranks, moments)
                lost.append(measured.lost(after))
                verdict = measured.verdict(after) if args.scores else None
                scores.append(sum(verdict.scores.values()) / len(names) if verdict else float("nan"))
            mean = sum(ranks.values()) / len(ranks)
            print(
                f"{name:22}{mean:6.2f}  {lost[0]:14.4f}{lost[1]:16.4f}  {scores[0]:15.3f}{scores[1]:10.3f}", flush=True
            )


if __name__ == "__main__":
    main()
