"""Memory and time of a step as each switch is added to those before it: SD1.5 in full size, random weights, plain mode.

python -m benchmarks.memory_ladder [--folder DIR] [--steps 4] [--side 64] [--plot FILE.png]

Every rung is a process of its own (see `benchmarks.speed`, whose seconds these are). "peak" is the highest that the
process ever held, loading included; "steps" what it held between steps; on a card, the highest there.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.speed import PLAIN, Measured, Place, measure, prepare

RUNGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("plain float32", ()),
    ("+ gradient_checkpointing", ("--gradient_checkpointing",)),
    ("+ base_precision bf16", ("--gradient_checkpointing", "--base_precision=bf16")),
    ("+ base_precision fp8", ("--gradient_checkpointing", "--base_precision=fp8")),
    ("+ base_precision int8", ("--gradient_checkpointing", "--base_precision=int8")),
    ("+ base_precision nf4", ("--gradient_checkpointing", "--base_precision=nf4")),
)
"""Name -> all flags of that rung; a precision takes the place of the one before it."""
CARD_RUNGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("+ offloaded checkpoints", ("--cpu_offload_checkpointing",)),
    ("+ blocks_to_swap 19", ("--cpu_offload_checkpointing", "--blocks_to_swap=19")),
    ("+ blocks_to_swap 38", ("--cpu_offload_checkpointing", "--blocks_to_swap=38")),
    ("+ blocks in fp8", ("--cpu_offload_checkpointing", "--blocks_to_swap=38", "--base_precision=fp8")),
)
"""What moves memory from the card to the host; without a card there is nothing to see."""
_ROW, _NAME, _BAR = 26, 190, 420


def table(found: dict[str, Measured]) -> str:
    """A line for each rung."""
    lines = [f"{'':28}{'s/step':>9}{'peak GiB':>11}{'steps GiB':>11}{'card GiB':>10}"]
    for name, one in found.items():
        card = "-" if one.peak_on_card is None else f"{one.peak_on_card:.2f}"
        lines.append(f"{name:28}{one.seconds:9.2f}{one.peak:11.2f}{one.resident:11.2f}{card:>10}")
    return "\n".join(lines)


def plot(found: dict[str, Measured]) -> Image.Image:
    """Two bars for each rung: memory between steps, and seconds a step."""
    image = Image.new("RGB", (_NAME + _BAR + 90, _ROW * 2 * len(found) + 30), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    draw.text((_NAME, 6), "GiB between steps (dark), seconds a step (light)", "black", font)
    memory, seconds = (max(getattr(one, what) for one in found.values()) for what in ("resident", "seconds"))
    for number, (name, one) in enumerate(found.items()):
        top = 30 + number * 2 * _ROW
        draw.text((6, top + 6), name, "black", font)
        bars = ((one.resident, memory, "#2b4c7e", "GiB"), (one.seconds, seconds, "#a9c1e0", "s"))
        for row, (value, largest, color, unit) in enumerate(bars):
            y, end = top + row * (_ROW - 6), _NAME + round(_BAR * value / largest)
            draw.rectangle((_NAME, y, end, y + _ROW - 10), color)
            draw.text((end + 6, y), f"{value:.2f} {unit}", "black", font)
    return image


def main() -> None:
    """Print the table, and draw it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the checkpoint (2 GB) is kept; else it is made each time")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, there = {}, torch.cuda.is_available()
        if not there:
            print(f"no graphics card: left out are {', '.join(name for name, _ in CARD_RUNGS)}")
        for name, flags in RUNGS + (CARD_RUNGS if there else ()):
            place = Place((args.folder or Path(folder)).absolute(), args.side, args.steps, threads=1, flags=flags)
            prepare(place)
            found[name] = measure(PLAIN, place)
            print(table({name: found[name]}), flush=True)
    print(table(found))
    if args.plot:
        plot(found).save(args.plot)


if __name__ == "__main__":
    main()
