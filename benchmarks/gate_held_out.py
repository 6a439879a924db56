"""Whether the gate tells ruined museums from good ones that were not known when its thresholds were set.

python -m benchmarks.gate_held_out [--pictures 8] [--out output/gate_held_out]

Two museums of other styles, orders and seeds than `benchmarks.gate` reads are taught with the default method, and the
second style of one of them also in ways that go wrong. All are then damaged in many ways, mild to severe
(`benchmarks/damage.py`). What is ruined and what good is decided by the pocket classifier, by the rule of
`benchmarks.gate`; the gate, with its default thresholds, knows nothing of it. Each museum's figures are written as soon
as they are known; run again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.damage import Damage, damages, mixed_with, numbers_of, put, unharmed
from benchmarks.gate import BETWEEN, GOOD, RUINED, kind_of
from benchmarks.lessons import run_config
from benchmarks.pocket_pictures import PLAN as PLAN_OF_POCKET
from benchmarks.pocket_pictures import Shown, show
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.gate import objections
from museum_plugin.judge.retention import NO_TRIGGER, draw, judge, relative_drift
from museum_plugin.judge.signature import signature, signatures_of
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import FLAT
from museum_plugin.train.exhibition import exhibition_of
from museum_plugin.train.finish import scores_before
from museum_plugin.train.loop import train

DRAWN_SEED = 90_000


@dataclass(frozen=True)
class Course:
    """Styles taught one after another, the last one perhaps with other flags behind those of another course."""

    name: str
    seed: int
    styles: tuple[str, ...]
    flags: tuple[str, ...] = ()
    behind: str = ""
    """The course whose museum before the last style this one goes on from."""


A, B = ("riso", "stained"), ("stained", "neon")
COURSES = (
    Course("a", 11, A),
    Course("no-lock", 13, A, ("--method=finetune", "--max_train_steps=60"), "a"),
    Course("rate-x10", 14, A, ("--learning_rate=3e-2", "--max_train_steps=60"), "a"),
    Course("b", 12, B, ("--max_train_steps=150",)),
    Course("lock-without-old-styles", 15, A, ("--replay_per_style=0", "--max_train_steps=100"), "a"),
)
PLAN = replace(PLAN_OF_POCKET, steps=10)
"""How the classifier's pictures are drawn."""


@dataclass(frozen=True)
class Case:
    """One museum as classifier and gate see it."""

    name: str
    kind: str
    """ruined | between | good, by the classifier."""
    shares: dict[str, float]
    """Of its first score that each old style still has, by the classifier."""
    flat: float
    """Share of pictures without a trigger that are drawn flat, of the base's own."""
    kept: dict[str, float]
    """By the judge."""
    drift: float
    objections: list[str]


def by_name(name: str) -> Course:
    """The course of this name."""
    return next(course for course in COURSES if course.name == name)


def file_after(out: Path, course: Course, count: int) -> Path:
    """The museum file of a course after so many styles."""
    if course.behind and count < len(course.styles):
        course = by_name(course.behind)
    return out / course.name / f"after-{count}.safetensors"


def teach(course: Course, out: Path) -> None:
    """Teach what is missing of a course."""
    folder = out / course.name
    folder.mkdir(parents=True, exist_ok=True)
    museum = folder / "museum.safetensors"
    if course.behind and not museum.exists():
        shutil.copy(file_after(out, course, len(course.styles) - 1), museum)
    for count, style in enumerate(course.styles, start=1):
        kept = file_after(out, course, count)
        if not kept.exists():
            train(run_config("museum", course.seed, folder, style, ["--export_for=none", *course.flags]))
            shutil.copy(museum, kept)


class Examiner:
    """Judges museums, and shows what they draw to the classifier."""

    def __init__(self, base: BaseModel, classifier: Classifier, pictures: int) -> None:
        self.base, self._classifier = base, classifier
        self._scenes = held_out_scenes()[:pictures]
        self._base_flat = self._show("").style_rate(FLAT)
        self._base_latents: dict[str, Tensor] = {}

    @torch.no_grad()
    def _show(self, phrase: str) -> Shown:
        return show(self.base, self._classifier, self._scenes, phrase, seed=DRAWN_SEED, plan=PLAN)

    def first_scores(self, out: Path, course: Course) -> dict[str, float]:
        """By the classifier, of every old style right after it was learned; no museum may be attached."""
        found = {}
        for number, style in enumerate(course.styles[:-1], start=1):
            museum = open_museum(file_after(out, course, number), self.base)
            with museum.attached():
                found[style] = self._show(museum.phrase(style)).style_score(style)
        return found

    @torch.no_grad()
    def case(self, name: str, museum: Museum, first: dict[str, float]) -> Case:
        """Judge an attached museum.

        Args:
            first: by the classifier, the score of each old style when it was learned.
        """
        ledger = museum.ledger
        signatures = signatures_of(ledger.styles)
        if ledger.museum_id not in self._base_latents:
            with museum.disabled():
                self._base_latents[ledger.museum_id] = draw(museum, exhibition_of(ledger), None)
        bare = self._base_latents[ledger.museum_id]
        old, before = {style: signatures[style] for style in first}, scores_before(museum)
        verdict = judge(museum, exhibition_of(ledger), old, base_latents=bare)  # the new style has no say by default
        drift = relative_drift(signature(verdict.latents[NO_TRIGGER]), signature(bare), signatures)
        verdict = replace(verdict, drift=drift)
        shares = {
            style: self._show(museum.phrase(style)).style_score(style) / max(was, 1e-9) for style, was in first.items()
        }
        flat = self._show("").style_rate(FLAT) / max(self._base_flat, 1e-9)
        found = objections(verdict, before, GateConfig())
        kind = kind_of(list(shares.values()), flat)
        return Case(name, kind, shares, flat, verdict.kept(before), verdict.drift, found)


def examine(out: Path, course: Course, ways: list[Damage], examiner: Examiner) -> list[Case]:
    """The cases of one course's last museum file, each damaged in another way; those on disk are read."""
    count = len(course.styles)
    museum = open_museum(file_after(out, course, count), examiner.base)
    whole, cases = numbers_of(museum), []
    first = examiner.first_scores(out, course)
    with museum.attached():
        for way in ways:
            name = f"{course.name}: {way.name}"
            file = out / "cases" / f"{name.replace(' ', '_').replace(':', '').replace('%', '')}.json"
            if not file.exists():
                put(museum, way.apply(whole))
                case = examiner.case(name, museum, first)
                file.parent.mkdir(exist_ok=True)
                file.write_text(json.dumps(asdict(case), indent=1))
            cases.append(Case(**json.loads(file.read_text())))
            print(line(cases[-1]), flush=True)
    return cases


def line(case: Case) -> str:
    """A case in one line."""
    seen = f"shares {min(case.shares.values()):.2f} flat {case.flat:.2f}"
    judged = f"kept {min(case.kept.values()):.2f} drift {case.drift:.2f}"
    return f"{case.kind:8} {'refused' if case.objections else 'accepted':9} {seen} | {judged} | {case.name}"


def all_cases(out: Path, examiner: Examiner) -> list[Case]:
    """Every museum, taught where it is missing: as it is and, where it was taught well, damaged."""
    cases = []
    for course in COURSES:
        teach(course, out)
        ways = [unharmed()]
        if not course.behind:
            before = numbers_of(open_museum(file_after(out, course, len(course.styles) - 1), examiner.base))
            mixed = [mixed_with(before, "the museum before", share) for share in (0.5, 1.0, -1.0)]
            ways = [*damages(course.styles), *mixed]
        cases += examine(out, course, ways, examiner)
    return cases


def main() -> None:
    """Teach and judge what is missing, and print how many of each kind are refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=8, help="drawn for each score of the classifier")
    parser.add_argument("--out", type=Path, default=Path("output/gate_held_out"))
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.WARNING)
    base = load_base(run_config("museum", 0, args.out, "ink", []).base.path)
    cases = all_cases(args.out, Examiner(base, load_classifier(), args.pictures))
    for kind in (RUINED, BETWEEN, GOOD):
        same = [case for case in cases if case.kind == kind]
        print(f"{kind:8} {sum(bool(case.objections) for case in same)} of {len(same)} refused")


if __name__ == "__main__":
    main()
