"""Twenty styles in a row: what is kept of them, and what a style costs, as the museum grows.

python -m benchmarks.never_ending [--methods museum paper finetune] [--styles 20] [--seed 0] [--pictures 8]
       [--out output/never_ending] [--set FLAG=VALUE ...]

The shipped styles first, then variants of them (`benchmarks/variants.py`); the settings are the demo's. The museum is
examined after 1, 2, 4, 8, 12, 16 and 20 styles, and the scores of every style are printed. What is written after each
examination is kept: run again, it goes on behind the last one. Seconds are processor time, those of a step without what
is drawn for the bank and the verdict.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.lessons import run_config
from benchmarks.pocket_pictures import Shown, show
from benchmarks.variants import TWENTY, Variant, score, write_variant
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.museum.store import open_museum
from museum_plugin.museum.triggers import slot_words
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import FLAT
from museum_plugin.train import loop

EXAMINED = (1, 2, 4, 8, 12, 16, 20)
DRAWN_SEED = 70_000


@dataclass
class Growth:
    """What one method did, style by style."""

    method: str
    seed: int
    names: list[str] = field(default_factory=list)
    learned: dict[str, float] = field(default_factory=dict)
    """Score of each style right after it was learned."""
    at: dict[int, list[float]] = field(default_factory=dict)
    """Scores of all styles after so many."""
    flat: dict[int, float] = field(default_factory=dict)
    """Share of pictures without a trigger that are flat, after so many styles."""
    step_seconds: list[float] = field(default_factory=list)
    style_seconds: list[float] = field(default_factory=list)
    """Of a whole style: bank, steps, verdict."""
    file_bytes: list[int] = field(default_factory=list)

    def kept(self, count: int) -> float:
        """Mean score of so many styles after the last of them, over their mean when each was learned."""
        return sum(self.at[count]) / max(1e-9, sum(self.learned[name] for name in self.names[:count]))


@contextmanager
def timed_steps(steps: list[float]) -> Iterator[None]:
    """While inside, the processor seconds of each lesson's steps are added to a list."""
    teach = loop.teach_style

    def timed(room: loop.Classroom, lesson: loop.Lesson, stop: loop.StopRequest) -> None:
        begun = time.process_time()
        teach(room, lesson, stop)
        steps.append((time.process_time() - begun) / lesson.calendar.steps)

    loop.teach_style = timed
    try:
        yield
    finally:
        loop.teach_style = teach


class Examiner:
    """Draws pictures through a museum file and scores them."""

    def __init__(self, base: BaseModel, classifier: Classifier, pictures: int) -> None:
        self._base = base
        self._classifier = classifier
        self._scenes = held_out_scenes()[:pictures]

    @torch.no_grad()
    def scores(self, museum_file: Path, variants: list[Variant]) -> list[float]:
        """Of each variant, with its trigger."""
        museum = open_museum(museum_file, self._base)
        with museum.attached():
            drawn = [self._show(museum.phrase(variant.name)).images for variant in variants]
        return [score(variant, images, self._classifier) for variant, images in zip(variants, drawn, strict=True)]

    @torch.no_grad()
    def flat(self, museum_file: Path) -> float:
        """Share of pictures without a trigger that are flat."""
        with open_museum(museum_file, self._base).attached():
            return self._show("").style_rate(FLAT)

    def _show(self, phrase: str) -> Shown:
        return show(self._base, self._classifier, self._scenes, phrase, seed=DRAWN_SEED)


def teach_on(growth: Growth, variants: tuple[Variant, ...], out: Path, flags: list[str], examiner: Examiner) -> None:
    """Teach the styles that are missing, and write what is found after each."""
    folder = out / f"{growth.method}-{growth.seed}"
    file = folder / "museum.safetensors"
    words = slot_words()
    for number, variant in enumerate(variants, start=1):
        if number <= len(growth.names):
            continue
        dataset = write_variant(variant, out / "styles")
        more = [f"--dataset_config={dataset}", f"--trigger={words[number - 1]}", *flags]
        begun = time.process_time()
        with timed_steps(growth.step_seconds):
            loop.train(run_config(growth.method, growth.seed, folder, variant.style, more))
        growth.style_seconds.append(time.process_time() - begun)
        growth.file_bytes.append(file.stat().st_size)
        growth.names.append(variant.name)
        (growth.learned[variant.name],) = examiner.scores(file, [variant])
        if number in EXAMINED or number == len(variants):
            growth.at[number] = examiner.scores(file, list(variants[:number]))
            growth.flat[number] = examiner.flat(file)
            print(f"{growth.method} after {number}: kept {growth.kept(number):.2f}, flat {growth.flat[number]:.2f}",
                  flush=True)  # fmt: skip
        write(growth, out)


def write(growth: Growth, out: Path) -> None:
    """Write what was found."""
    (out / f"{growth.method}-{growth.seed}.json").write_text(json.dumps(asdict(growth), indent=1))


def read(method: str, seed: int, out: Path) -> Growth:
    """What was found before; empty at first."""
    file = out / f"{method}-{seed}.json"
    if not file.exists():
        return Growth(method, seed)
    found = json.loads(file.read_text())
    for name in ("at", "flat"):
        found[name] = {int(count): value for count, value in found[name].items()}
    return Growth(**found)


def table(found: list[Growth]) -> str:
    """What each method keeps after so many styles, and what the first and last styles cost."""
    counts = sorted({count for growth in found for count in growth.at})
    lines = [f"{'kept after':14}" + "".join(f"{count:>8}" for count in counts)]
    lines += [
        f"{growth.method:14}"
        + "".join(f"{growth.kept(count):8.2f}" if count in growth.at else f"{'':8}" for count in counts)
        for growth in found
    ]
    lines += ["", f"{'flat after':14}" + "".join(f"{count:>8}" for count in counts)]
    lines += [
        f"{growth.method:14}"
        + "".join(f"{growth.flat[count]:8.2f}" if count in growth.at else f"{'':8}" for count in counts)
        for growth in found
    ]
    heads = ("s/step 2nd", "last", "ratio", "s/style 2nd", "last", "KiB 1st", "last")
    lines += ["", f"{'style':14}" + "".join(f"{head:>12}" for head in heads)]
    for growth in found:
        if len(growth.names) < 2:
            continue
        second, last = growth.step_seconds[1], growth.step_seconds[-1]
        first_size, last_size = growth.file_bytes[0] / 1024, growth.file_bytes[-1] / 1024
        lines.append(
            f"{growth.method:14}{second:12.3f}{last:12.3f}{last / second:12.2f}{growth.style_seconds[1]:12.0f}"
            f"{growth.style_seconds[-1]:12.0f}{first_size:12.0f}{last_size:12.0f}"
        )
    return "\n".join([*lines, *(line for growth in found for line in by_style(growth))])


def by_style(growth: Growth) -> list[str]:
    """The score of each style when it was learned, and after so many styles."""
    lines = ["", f"{growth.method:20}{'learned':>8}" + "".join(f"{count:>8}" for count in growth.at)]
    for place, name in enumerate(growth.names):
        later = (f"{scores[place]:8.2f}" if place < len(scores) else f"{'':8}" for scores in growth.at.values())
        lines.append(f"{name:20}{growth.learned[name]:8.2f}" + "".join(later))
    return lines


def main() -> None:
    """Teach what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["museum", "paper", "finetune"])
    parser.add_argument("--styles", type=int, default=len(TWENTY))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=8, help="drawn for each score")
    parser.add_argument("--out", type=Path, default=Path("output/never_ending"))
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.WARNING)
    args.out.mkdir(parents=True, exist_ok=True)
    base = load_base(run_config("museum", 0, args.out, "ink", []).base.path)
    examiner = Examiner(base, load_classifier(), args.pictures)
    found = []
    for method in args.methods:
        growth = read(method, args.seed, args.out)
        teach_on(growth, TWENTY[: args.styles], args.out, [f"--{pair}" for pair in args.set], examiner)
        found.append(growth)
    text = table(found)
    print(text)
    (args.out / "table.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
