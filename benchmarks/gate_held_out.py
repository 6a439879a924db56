"""Whether the gate tells ruined museums from good ones that were not known when its thresholds were set.

python -m benchmarks.gate_held_out [--courses a b ...] [--pictures 6] [--steps 8] [--out output/gate_held_out]
python -m benchmarks.gate_held_out --table [--out benchmarks/results/gate_held_out]

Four museums of other styles, orders and seeds than `benchmarks.gate` reads are taught with the default method, and the
second style of one of them also in ways that go wrong. All are then damaged in many ways, mild to severe
(`benchmarks/damage.py`). What is ruined and what good is decided by the pocket classifier, by the rule of
`benchmarks.gate`; the gate, with its default thresholds, knows nothing of it. Each museum's figures are written as soon
as they are known; run again, it goes on. `--table` reads them and asks the gate, which takes a second.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.damage import Damage, damages, mixed_with, numbers_of, put, unharmed
from benchmarks.gate import BETWEEN, GOOD, RUINED, kind_of
from benchmarks.lessons import run_config
from benchmarks.pocket_pictures import PLAN, Shown, show
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.as_learned import AsLearned
from museum_plugin.judge.gate import objections
from museum_plugin.judge.retention import BASE, Exhibition, Verdict, judge
from museum_plugin.judge.signature import signatures_of
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import FLAT
from museum_plugin.train.exhibition import exhibition_of
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
    Course("c", 21, ("mosaic", "pastel")),
    Course("d", 22, ("pastel", "riso"), ("--max_train_steps=200",)),
)


@dataclass(frozen=True)
class Case:
    """One museum as classifier and judge see it: all that the gate looks at, so that it can be asked again."""

    name: str
    shares: dict[str, float]
    """Of its first score that each old style still has, by the classifier."""
    flat: float
    """Share of pictures without a trigger that are drawn flat, of the base's own."""
    before: dict[str, float]
    """The judge's score of each old style when it was learned."""
    scores: dict[str, float]
    """The judge's score of each style now."""
    drift: float
    effect_kept: dict[str, float]
    pictures_moved: dict[str, float]
    neutral_moved: float

    @property
    def kind(self) -> str:
        """ruined | between | good, by the classifier."""
        return kind_of(list(self.shares.values()), self.flat)

    def objections(self, gate: GateConfig) -> list[str]:
        """What a gate has against this museum."""
        return objections(
            Verdict(
                names=tuple(self.scores),
                scores=self.scores,
                drift=self.drift,
                confusion={},
                latents={},
                effect_kept=self.effect_kept,
                pictures_moved=self.pictures_moved,
                neutral_moved=self.neutral_moved,
            ),
            self.before,
            gate,
        )


@dataclass
class Learned:
    """What each old style of a course was like right after it was learned."""

    shown: dict[str, float] = field(default_factory=dict)
    """Its score by the classifier."""
    scores: dict[str, float] = field(default_factory=dict)
    """Its score by the judge."""
    seen: dict[str, AsLearned] = field(default_factory=dict)


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
    """Judges museums, and shows what they draw to the classifier.

    Args:
        pictures: of each style, for the classifier.
        steps: denoising steps of every picture, also of those that are judged.
    """

    def __init__(self, base: BaseModel, classifier: Classifier, pictures: int, steps: int) -> None:
        self.base, self._classifier, self._steps = base, classifier, steps
        self._scenes = held_out_scenes()[:pictures]
        self._base_flat = self._show("").style_rate(FLAT)
        self._base_latents: dict[str, Tensor] = {}

    @torch.no_grad()
    def _show(self, phrase: str) -> Shown:
        plan = replace(PLAN, steps=self._steps)
        return show(self.base, self._classifier, self._scenes, phrase, seed=DRAWN_SEED, plan=plan)

    def _exhibition(self, ledger: Ledger) -> Exhibition:
        """What the museum is judged on, with fewer steps."""
        found = exhibition_of(ledger)
        return replace(found, plan=replace(found.plan, steps=self._steps))

    @torch.no_grad()
    def as_learned(self, files: Mapping[str, Path]) -> Learned:
        """Of old styles, each as the museum file draws it in which it is the newest; no museum may be attached."""
        found = Learned()
        for style, file in files.items():
            museum = open_museum(file, self.base)
            own = {style: signatures_of(museum.ledger.styles)[style]}
            with museum.attached():
                verdict = judge(museum, self._exhibition(museum.ledger), own)
                found.shown[style] = self._show(museum.phrase(style)).style_score(style)
            found.scores[style], found.seen[style] = verdict.scores[style], verdict.seen[style]
        return found

    @torch.no_grad()
    def case(self, name: str, museum: Museum, first: Learned) -> Case:
        """Judge an attached museum: its newest style and those of which it is known what they were like."""
        ledger = museum.ledger
        judged = {*first.seen, museum.styles()[-1]}
        signatures = {style: own for style, own in signatures_of(ledger.styles).items() if style in judged}
        bare = self._base_latents.get(ledger.museum_id)
        verdict = judge(museum, self._exhibition(ledger), signatures, learned=first.seen, base_latents=bare)
        self._base_latents[ledger.museum_id] = verdict.latents[BASE]
        return Case(
            name=name,
            shares={
                style: self._show(museum.phrase(style)).style_score(style) / max(was, 1e-9)
                for style, was in first.shown.items()
            },
            flat=self._show("").style_rate(FLAT) / max(self._base_flat, 1e-9),
            before=first.scores,
            scores=verdict.scores,
            drift=verdict.drift,
            effect_kept=verdict.effect_kept,
            pictures_moved=verdict.pictures_moved,
            neutral_moved=verdict.neutral_moved,
        )


def examine(
    out: Path, title: str, file: Path, learned: Mapping[str, Path], ways: list[Damage], examiner: Examiner
) -> list[Case]:
    """The cases of one museum file, each damaged in another way; those in `out` are read.

    Args:
        title: what the names of the cases begin with.
        learned: old style -> the museum file in which it is the newest.
    """
    museum = open_museum(file, examiner.base)
    whole, cases = numbers_of(museum), []
    first = examiner.as_learned(learned)
    with museum.attached():
        for way in ways:
            name = f"{title}: {way.name}"
            file = out / f"{name.replace(' ', '_').replace(':', '').replace('%', '')}.json"
            if not file.exists():
                put(museum, way.apply(whole))
                case = examiner.case(name, museum, first)
                out.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(asdict(case), indent=1))
            cases.append(Case(**json.loads(file.read_text())))
            print(line(cases[-1]), flush=True)
    return cases


def cases_in(folder: Path) -> list[Case]:
    """Those that were written there."""
    return [Case(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


def line(case: Case) -> str:
    """A case in one line."""
    seen = f"shares {min(case.shares.values()):5.2f} flat {case.flat:.2f}"
    effect, moved = min(case.effect_kept.values()), max(case.pictures_moved.values())
    judged = f"effect {effect:5.2f} pictures {moved:.2f} drift {case.drift:.2f} neutral {case.neutral_moved:.2f}"
    answer = "refused" if case.objections(GateConfig()) else "accepted"
    return f"{case.kind:8} {answer:9} {seen} | {judged} | {case.name}"


def summary(cases: list[Case]) -> str:
    """How many of each kind are refused."""
    lines = []
    for kind in (RUINED, BETWEEN, GOOD):
        same = [case for case in cases if case.kind == kind]
        lines.append(f"{kind:8} {sum(bool(case.objections(GateConfig())) for case in same)} of {len(same)} refused")
    return "\n".join(lines)


def all_cases(out: Path, courses: Sequence[str], examiner: Examiner) -> list[Case]:
    """Every museum of some courses, taught where it is missing: as it is and, where it was taught well, damaged."""
    cases = []
    for course in map(by_name, courses):
        teach(course, out)
        files = [file_after(out, course, count) for count in range(1, len(course.styles) + 1)]
        ways = [unharmed()]
        if not course.behind:
            before = numbers_of(open_museum(files[-2], examiner.base))
            mixed = [mixed_with(before, "the museum before", share) for share in (1.0, -1.0)]
            ways = [*damages(course.styles), *mixed]
        learned = dict(zip(course.styles[:-1], files[:-1], strict=True))
        cases += examine(out / "cases", course.name, files[-1], learned, ways, examiner)
    return cases


def tell(kept: Path | None, judged: Callable[[], list[Case]]) -> None:
    """Print how many of each kind are refused: of cases that a folder keeps, each in a line, too, or of new ones."""
    cases = judged() if kept is None else cases_in(kept)
    if kept is not None:
        print("\n".join(map(line, cases)))
    print(summary(cases))


def main() -> None:
    """Teach and judge what is missing, and print how many of each kind are refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [course.name for course in COURSES]
    parser.add_argument("--courses", nargs="+", choices=names, default=names, metavar="COURSE")
    parser.add_argument("--pictures", type=int, default=6, help="drawn for each score of the classifier")
    parser.add_argument("--steps", type=int, default=8, help="denoising steps of each picture")
    parser.add_argument("--out", type=Path, default=Path("output/gate_held_out"))
    parser.add_argument("--table", action="store_true", help="only read the cases (*.json) in --out")
    args = parser.parse_args()

    def judged() -> list[Case]:
        logging.getLogger("museum").setLevel(logging.WARNING)
        base = load_base(run_config("museum", 0, args.out, "ink", []).base.path)
        return all_cases(args.out, args.courses, Examiner(base, load_classifier(), args.pictures, args.steps))

    tell(args.out if args.table else None, judged)


if __name__ == "__main__":
    main()
