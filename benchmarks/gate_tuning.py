"""The museums on which the gate's thresholds were set: damaged in many ways, as classifier and judge see them.

python -m benchmarks.gate_tuning [--museums output/forgetting] [--out output/gate_tuning]
python -m benchmarks.gate_tuning --table [--out benchmarks/results/gate_tuning]

Reads museums of `benchmarks/forgetting.py` with their history. One old style of each is looked at; damage is done to
it and to the whole museum. Each museum's figures are written as soon as they are known; run again, it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.damage import Damage, fewer_ranks, noisy, scaled, slot_noisy, unharmed, without
from benchmarks.gate_held_out import Case, Examiner, examine, tell
from benchmarks.judge_calibration import museum_files
from museum_plugin.base.load import load_base
from museum_plugin.museum.file import read_ledger
from museum_plugin.pocket import MODEL_DIR
from museum_plugin.pocket.classifier import load_classifier

TAUGHT = (
    ("museum-0", ("ink", "blueprint")),
    ("museum-1", ("dots", "neon")),
    ("finetune-0", ("ink", "blueprint")),
    ("finetune-0", ("dots", "neon")),
    ("finetune-0", ("blueprint", "dots")),
)
"""A run of the benchmark; an old style, and the newest one of the museum that is looked at."""


def ways_of(run: str, old: str) -> list[Damage]:
    """What is done to a museum; nothing to those that were ruined by how they were taught."""
    if run.startswith("finetune"):
        return [unharmed()]
    return [
        unharmed(), *map(scaled, (0.3, 1.8, 2.5)), noisy(0.6, 4), noisy(1.0, 5), fewer_ranks(1), without("attn2"),
        slot_noisy(old, 1.0, 6),
    ]  # fmt: skip


def all_cases(museums: Path, out: Path, examiner: Examiner) -> list[Case]:
    """Every museum, damaged in every way."""
    cases = []
    for run, (old, new) in TAUGHT:
        newest = {read_ledger(file).styles[-1].name: file for file in museum_files(museums / run)}
        title = f"{run} after {new}"
        cases += examine(out, title, newest[new], {old: newest[old]}, ways_of(run, old), examiner)
    return cases


def main() -> None:
    """Judge what is missing, and print how many of each kind are refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--museums", type=Path, default=Path("output/forgetting"))
    parser.add_argument("--out", type=Path, default=Path("output/gate_tuning"))
    parser.add_argument("--table", action="store_true", help="only read the cases (*.json) in --out")
    args = parser.parse_args()
    tell(
        args.out if args.table else None,
        lambda: all_cases(args.museums, args.out, Examiner(load_base(MODEL_DIR), load_classifier(), 6, 8)),
    )


if __name__ == "__main__":
    main()
