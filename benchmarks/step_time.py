"""What a step of each method costs, as a ratio to `finetune`: short lessons of all methods in turn, several rounds.

python -m benchmarks.step_time [--methods finetune paper museum] [--rounds 5] [--steps 30] [--set FLAG=VALUE ...]

The settings are the demo's (`presets/demo.toml`), on one thread. The machine may have other work: what is measured is
processor time, the ratios are taken round by round, and their median is quoted.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.lessons import first_lesson, run_config
from museum_plugin.train.loop import teach_style
from museum_plugin.train.stop import StopRequest


def seconds_a_step(method: str, flags: Sequence[str]) -> float:
    """Processor seconds: unlike those of the clock they leave out what else the machine is doing."""
    with tempfile.TemporaryDirectory() as folder:
        run = run_config(method, 0, Path(folder), "ink", ["--replay_sampling_steps=4", *flags])
        with first_lesson(run) as (room, lesson):
            begun = time.process_time()
            teach_style(room, lesson, StopRequest())
            return (time.process_time() - begun) / run.training.steps


def measure(methods: Sequence[str], flags: Sequence[str], *, rounds: int, steps: int) -> list[dict[str, float]]:
    """Seconds a step of each method on one thread, round by round."""
    flags, threads = [*flags, f"--max_train_steps={steps}"], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds_a_step(methods[0], flags)  # warms up whatever is made once
        return [{method: seconds_a_step(method, flags) for method in methods} for _ in range(rounds)]
    finally:
        torch.set_num_threads(threads)


def median_seconds(methods: Sequence[str], flags: Sequence[str]) -> dict[str, float]:
    """Of a step, by method."""
    rounds = measure(methods, flags, rounds=5, steps=30)
    return {method: statistics.median(found[method] for found in rounds) for method in methods}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["finetune", "paper", "museum"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.ERROR)
    rounds = measure(args.methods, [f"--{pair}" for pair in args.set], rounds=args.rounds, steps=args.steps)
    first = args.methods[0]
    print(f"{'method':10}{'s/step':>10}{'/ ' + first:>14}{'lowest':>10}{'highest':>10}")
    for method in args.methods:
        ratios = [found[method] / found[first] for found in rounds]
        median = statistics.median(found[method] for found in rounds)
        print(f"{method:10}{median:10.3f}{statistics.median(ratios):14.2f}{min(ratios):10.2f}{max(ratios):10.2f}")


if __name__ == "__main__":
    main()
