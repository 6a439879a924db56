"""What old styles keep of a lesson, beside what was measured before its first step.

python -m benchmarks.retention --museums output/forgetting [--trials 40] [--held_out 20] [--out output/retention]

Reads museums of `benchmarks.forgetting` with their history. Each trial takes one as it was after some of its styles
and teaches it one more, by a method, a rate and a length that chance decides, gentle to ruinous. Nothing is saved of it
but its numbers, as soon as they are known; run again, it goes on. Held-out trials are of a museum that no other trial
is of.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import torch

from benchmarks.judge_calibration import museum_files
from benchmarks.lessons import run_config
from benchmarks.pocket_pictures import PLAN, show
from museum_plugin.config.schema import GateConfig, RunConfig
from museum_plugin.methods import METHODS
from museum_plugin.museum.file import read_ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import STYLES
from museum_plugin.train.loop import open_classroom, teach_style
from museum_plugin.train.overlap import Overlap, overlap_of
from museum_plugin.train.retention_forecast import HOLDING
from museum_plugin.train.schedule import sum_of_rates
from museum_plugin.train.setup import begin_style
from museum_plugin.train.stop import StopRequest

DRAWN_SEED = 80_000
KNOWN, UNKNOWN = ("museum-0", "museum-1"), ("museum-2",)
"""Museums of trials and of held-out trials."""
_FIRST_HELD_OUT = 1000
_METHODS = ("museum",) * 5 + ("paper", "finetune")


@dataclass(frozen=True)
class Trial:
    """One lesson, all of it decided by its number."""

    number: int
    museum: str
    known: int
    """How many styles the museum has before it."""
    style: str
    method: str
    rate: float
    steps: int
    hold: float
    """Weight of what holds old styles, as a part of the method's own."""

    @classmethod
    def of(cls, number: int, museums: tuple[str, ...], folder: Path) -> Trial:
        """The trial of this number, on one of these museums."""
        rng = Random(number)
        museum = rng.choice(museums)
        files = museum_files(folder / museum)
        known = rng.randrange(1, len(files))
        taught = {record.name for record in read_ledger(files[known - 1]).styles}
        method = rng.choice(_METHODS)
        return cls(
            number=number,
            museum=museum,
            known=known,
            style=rng.choice([style for style in STYLES if style not in taught]),
            method=method,
            rate=round(10 ** rng.uniform(-3, -1.8), 5),
            steps=round(40 * 2 ** rng.uniform(0, 2.3)),
            hold=rng.choice((0.03, 0.3, 1.0, 1.0)) if HOLDING[method] else 1.0,
        )

    def run(self, museum: Path) -> RunConfig:
        """Its settings; a bank is drawn whatever the method."""
        flags = [f"--learning_rate={self.rate}", f"--max_train_steps={self.steps}", "--replay_per_style=6",
                 "--replay_neutral=6"]  # fmt: skip
        run = run_config(self.method, self.number, museum.parent, self.style, flags)
        terms = {name: self.hold * METHODS[self.method][name] for name in HOLDING[self.method]}
        return replace(run, method=replace(run.method, weights=terms), gate=GateConfig(extra_steps=1))


@dataclass(frozen=True)
class Outcome:
    """What was found in one trial."""

    trial: Trial
    overlap: Overlap
    rates: float
    """Sum of the learning rates of all steps."""
    before: dict[str, float]
    """The classifier's score of each old style before the lesson."""
    after: dict[str, float]
    """After it; of the new style, too."""


def outcome(trial: Trial, folder: Path, classifier: Classifier, pictures: int) -> Outcome:
    """Teach the lesson of a trial, and forget it."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as held:
        museum_file = Path(temporary) / "museum.safetensors"
        shutil.copy(museum_files(folder / trial.museum)[trial.known - 1], museum_file)
        room, ((style, dataset),) = open_classroom(trial.run(museum_file), held)
        old = room.museum.styles()
        before = scores(room.museum, old, classifier, pictures)
        lesson = begin_style(room, style, dataset)
        overlap = overlap_of(room, lesson)
        rates = sum_of_rates(room.run.optimizer, trial.rate, trial.steps)
        teach_style(room, lesson, StopRequest())
        return Outcome(trial, overlap, rates, before, scores(room.museum, (*old, lesson.name), classifier, pictures))


@torch.no_grad()
def scores(museum: Museum, styles: tuple[str, ...], classifier: Classifier, pictures: int) -> dict[str, float]:
    """The classifier's score of each style of an attached museum."""
    scenes, plan = held_out_scenes()[:pictures], replace(PLAN, steps=12)
    return {
        style: show(museum.base, classifier, scenes, museum.phrase(style), seed=DRAWN_SEED, plan=plan).style_score(
            style
        )
        for style in styles
    }


def is_held_out(trial: Trial) -> bool:
    """Whether it is of a museum that the forecast is not fitted on."""
    return trial.museum in UNKNOWN


def read(file: Path) -> Outcome:
    """What `outcome` found before."""
    found = json.loads(file.read_text())
    found["trial"], found["overlap"] = Trial(**found["trial"]), Overlap(**found["overlap"])
    return Outcome(**found)


def main() -> None:
    """Run the trials that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--museums", type=Path, default=Path("output/forgetting"))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--held_out", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=12, help="drawn for each score")
    parser.add_argument("--out", type=Path, default=Path("output/retention"))
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.WARNING)
    args.out.mkdir(parents=True, exist_ok=True)
    classifier = load_classifier()
    numbers = [(number, KNOWN) for number in range(args.trials)]
    numbers += [(_FIRST_HELD_OUT + number, UNKNOWN) for number in range(args.held_out)]
    for number, museums in numbers:
        file = args.out / f"{number}.json"
        if file.exists():
            continue
        found = outcome(Trial.of(number, museums, args.museums), args.museums, classifier, args.pictures)
        file.write_text(json.dumps(asdict(found), indent=1))
        kept = " ".join(f"{name} {found.after[name] / max(was, 1e-9):.2f}" for name, was in found.before.items())
        trial = found.trial
        print(f"{number}: {trial.method} {trial.hold:g}, {trial.steps} x {trial.rate:g}: {kept} | "
              f"{trial.style} {found.after[trial.style]:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
