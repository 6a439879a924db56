"""What a run spends before its first step: processor seconds of one thread, stage by stage, latents cached.

python -m benchmarks.startup [--rounds 5] [--sd_scripts DIR --sd_python PYTHON] [--set FLAG=VALUE ...]

Each round is a fresh process that teaches the pocket model with the demo's settings up to the end of one step. What
loading a model takes stands apart: the model itself, and the libraries that its networks come from, which is the time
that loading it takes longer at the first time than at the second. With a checkout of sd-scripts and the interpreter of
its environment, importing its `train_network` is timed in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_OURS = """
import json, sys, time
marks = [time.process_time()]
from museum_plugin.config.arguments import parse_command_line
run = parse_command_line(sys.argv[1:])
marks.append(time.process_time())
import museum_plugin.train.loop as loop
import museum_plugin.train.start as start
marks.append(time.process_time())

def loaded():
    begun = time.process_time()
    base = load(run.base.path, run.base)
    return base, time.process_time() - begun

def reloaded(*asked):
    global again
    base, again = loaded()
    return base

def first_backward(*given):
    marks.append(time.process_time())
    return backward(*given)

class Done(Exception):
    pass

def first_move(*given):
    move(*given)
    raise Done

load, move, backward = start.load_base, loop._move, loop.micro_step
first, second = loaded()[1], loaded()[1]
marks.append(time.process_time())
start.load_base, loop.micro_step, loop._move = reloaded, first_backward, first_move
try:
    loop.train(run)
except Done:
    marks.append(time.process_time())
begun, parsed, imported, prepared, stepping, done = marks
print(json.dumps({
    "interpreter": begun,
    "flags and files": parsed - begun,
    "torch and Museum": imported - parsed,
    "pictures, optimizer": stepping - prepared - again,
    "libraries of the networks": first - second,
    "model": again,
    "first step": done - stepping,
}))
"""
_THEIRS = "import time, train_network; print('seconds', time.process_time())"
_LIBRARIES = "libraries of the networks"
_APART = ("model", "first step", _LIBRARIES)


def our_stages(folder: Path, flags: list[str]) -> dict[str, float]:
    """Processor seconds of each stage of one run."""
    command = [sys.executable, "-c", _OURS, "--config_file=presets/demo.toml"]
    command += ["--dataset_config=examples/styles/ink.toml", f"--museum={folder / 'museum.safetensors'}"]
    command += [f"--output_dir={folder}", "--method=finetune", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_one_thread())
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def their_import(checkout: Path, python: Path) -> float:
    """Processor seconds of importing sd-scripts' `train_network`, and nothing more."""
    done = subprocess.run(
        [python, "-c", _THEIRS], cwd=checkout, capture_output=True, text=True, check=True, env=_one_thread()
    )
    return float(done.stdout.split("seconds")[-1])


def _one_thread() -> dict[str, str]:
    """As a user starts it, modules compiled once, but with one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sd_scripts", type=Path, help="a checkout of sd-scripts")
    parser.add_argument(
        "--sd_python", type=Path, help="the interpreter of its environment", default=Path(sys.executable)
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        our_stages(Path(folder), [])  # fills the caches, of latents and of the disk
        for _ in range(args.rounds):
            ours.append(our_stages(Path(folder), [f"--{pair}" for pair in args.set]))
            if args.sd_scripts:
                theirs.append(their_import(args.sd_scripts, args.sd_python.absolute()))
    for name in ours[0]:
        print(f"{name:34}{statistics.median(stages[name] for stages in ours):8.2f}")
    bare = [sum(seconds for name, seconds in stages.items() if name not in _APART) for stages in ours]
    whole = [total + stages[_LIBRARIES] for total, stages in zip(bare, ours, strict=True)]
    for title, totals in (("to the first step, loading apart", bare), ("... with those libraries", whole)):
        ratio = statistics.median(a / b for a, b in zip(totals, theirs, strict=True)) if theirs else None
        shown = "" if ratio is None else f"   / sd-scripts' {ratio:.2f}"
        print(f"{title:34}{statistics.median(totals):8.2f}{shown}")
    if theirs:
        print(f"{'import of train_network':34}{statistics.median(theirs):8.2f}")


if __name__ == "__main__":
    main()
