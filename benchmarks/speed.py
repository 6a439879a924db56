"""Seconds a step and peak memory of plain and museum mode on SD1.5 in full size, random weights, float32, batch 1.

python -m benchmarks.speed [--rounds 3] [--sd_scripts DIR --sd_python PYTHON] [--set FLAG=VALUE ...]

Each run is a process of its own; runs alternate, round by round, so that whatever else the machine does meets them
alike, and ratios are taken within a round. With a checkout of sd-scripts its own train_network.py runs in turn, as it
is, on the same checkpoint, pictures and flags. Seconds are those of the processor on one thread unless --threads says
otherwise; then they are those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.full_size import write_pictures, write_sd15

_ROOT = Path(__file__).resolve().parents[1]
_WARM_UP = 2
"""Steps at the beginning that do not count."""
_DATASET = """
[general]
caption_extension = ".txt"
resolution = {side}
batch_size = 1
"""
_STYLE = """
[[datasets]]
{style}
[[datasets.subsets]]
image_dir = "{pictures}"
"""
PLAIN, MUSEUM, THEIRS = "plain", "museum", "sd-scripts"


@dataclass(frozen=True)
class Place:
    """Where the runs find what they need."""

    folder: Path
    side: int
    steps: int
    threads: int
    flags: tuple[str, ...] = ()
    """More flags of train_museum.py."""
    checkout: Path = Path()
    python: Path = Path(sys.executable)
    """The interpreter for sd-scripts."""


@dataclass(frozen=True)
class Measured:
    """One run."""

    seconds: float
    """Median of a step."""
    peak: float
    """GiB of the process, loading included."""
    resident: float
    """GiB of the process between steps, median."""
    peak_on_card: float | None = None
    """GiB."""


def prepare(place: Place) -> None:
    """Make checkpoint, pictures and dataset files, unless they are there from an earlier time."""
    if not (place.folder / "sd15.safetensors").exists():
        write_sd15(place.folder)
    pictures = place.folder / f"pictures-{place.side}"
    write_pictures(pictures, place.side)
    head = _DATASET.format(side=place.side)
    (place.folder / "plain.toml").write_text(head + _STYLE.format(style="", pictures=pictures), encoding="utf-8")
    both = [_STYLE.format(style=f'style = "{name}"', pictures=pictures) for name in ("first", "second")]
    (place.folder / "museum.toml").write_text(head + "".join(both), encoding="utf-8")


def shared_flags(place: Place, dataset: str) -> list[str]:
    """What both trainers are told."""
    folder = place.folder
    return [
        f"--pretrained_model_name_or_path={folder / 'sd15.safetensors'}", f"--tokenizer_cache_dir={folder}",
        f"--dataset_config={folder / dataset}", f"--output_dir={folder / 'out'}", "--output_name=speed",
        f"--max_train_steps={place.steps}", "--learning_rate=1e-4", "--network_dim=4", "--network_alpha=4",
        "--network_train_unet_only", "--network_module=networks.lora", "--optimizer_type=AdamW", "--cache_latents",
        "--mixed_precision=no", "--max_data_loader_n_workers=0", "--seed=1", "--sdpa",
    ]  # fmt: skip


def measure(mode: str, place: Place) -> Measured:
    """One run of one mode, in a process of its own."""
    if mode == THEIRS:
        flags = [*shared_flags(place, "plain.toml"), "--save_model_as=safetensors", "--sdpa"]
        return _run(place.python, place.checkout / "train_network.py", flags, place)
    flags = [*shared_flags(place, f"{mode}.toml"), *place.flags]
    if mode == MUSEUM:
        with tempfile.TemporaryDirectory() as museums:
            own = [f"--museum={museums}/museum.safetensors", "--gate=off", "--sample_steps=1", "--replay_per_style=2"]
            own += ["--replay_neutral=2", "--replay_sampling_steps=4"]
            return _run(Path(sys.executable), _ROOT / "train_museum.py", [*flags, *own], place)
    return _run(Path(sys.executable), _ROOT / "train_museum.py", flags, place)


def _run(python: Path, script: Path, flags: list[str], place: Place) -> Measured:
    result = place.folder / "result.json"
    command = [str(python), str(_ROOT / "benchmarks" / "clocked.py"), str(result), str(script), *flags]
    told = {**os.environ, "OMP_NUM_THREADS": str(place.threads), "HF_HUB_OFFLINE": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, env=told, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return read_result(json.loads(result.read_text(encoding="utf-8")), place)


def read_result(found: dict[str, Any], place: Place) -> Measured:
    """What one run noted; of several styles, the last one's steps count."""
    stamps = [stamp[0 if place.threads == 1 else 1] for stamp in found["stamps"]][-place.steps :]
    each = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)][_WARM_UP - 1 :]
    card = found["peak_on_card"]
    resident = statistics.median(found["resident"][-place.steps :])
    return Measured(
        statistics.median(each), found["peak"] / 2**30, resident / 2**30, None if card is None else card / 2**30
    )


def table(rounds: list[dict[str, Measured]]) -> str:
    """A line for each mode: seconds a step, peak memory, and both as ratios to the last mode's."""
    modes = list(rounds[0])
    against = THEIRS if THEIRS in modes else PLAIN
    lines = [f"{'':12}{'s/step':>9}{'GiB':>8}{'on card':>9}{'  time / ' + against:>22}{'memory / ' + against:>22}"]
    for mode in modes:
        seconds = statistics.median(found[mode].seconds for found in rounds)
        peak = statistics.median(found[mode].peak for found in rounds)
        card = rounds[-1][mode].peak_on_card
        time_ratio = statistics.median(found[mode].seconds / found[against].seconds for found in rounds)
        peak_ratio = statistics.median(found[mode].peak / found[against].peak for found in rounds)
        shown = "-" if card is None else f"{card:.2f}"
        lines.append(f"{mode:12}{seconds:9.2f}{peak:8.2f}{shown:>9}{time_ratio:22.2f}{peak_ratio:22.2f}")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--modes", nargs="+", default=[PLAIN, MUSEUM], choices=[PLAIN, MUSEUM])
    parser.add_argument("--folder", type=Path, help="where the checkpoint (2 GB) is kept; else it is made each time")
    parser.add_argument("--sd_scripts", type=Path, help="a checkout of sd-scripts")
    parser.add_argument("--sd_python", type=Path, default=Path(sys.executable), help="its environment's interpreter")
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(
            (args.folder or Path(folder)).absolute(), args.side, args.steps, args.threads,
            tuple(f"--{pair}" for pair in args.set), args.sd_scripts and args.sd_scripts.absolute(),
            args.sd_python.absolute(),
        )  # fmt: skip
        prepare(place)
        modes = [*args.modes, *([THEIRS] if args.sd_scripts else [])]
        rounds = []
        for number in range(args.rounds):
            rounds.append({mode: measure(mode, place) for mode in modes})
            print(f"round {number + 1}: " + ", ".join(f"{mode} {m.seconds:.2f} s" for mode, m in rounds[-1].items()))
        print(table(rounds))


if __name__ == "__main__":
    main()
