"""Teach the shipped styles one after another with each method, and measure what was learned and what was forgotten.

python -m benchmarks.forgetting [--styles 6] [--seeds 3] [--methods finetune paper museum joint] [--steps N]
       [--pictures N] [--out output/forgetting] [--set FLAG=VALUE ...]

The settings are the demo's (`presets/demo.toml`). Scores are the pocket classifier's: the probability of the right
style in pictures of held-out captions, drawn with the style's trigger. Each method and seed is written to a JSON file
as soon as it is done; run again, it goes on. What a step costs is measured at the end, all methods in turn
(`benchmarks/step_time.py`).
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from benchmarks.joint import teach_jointly
from benchmarks.lessons import JOINT, run_config
from benchmarks.pocket_pictures import Shown, show
from benchmarks.step_time import median_seconds
from museum_plugin.base.load import load_base
from museum_plugin.judge.grid import write_grid
from museum_plugin.judge.matrix import average_forgetting
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import FLAT, STYLES
from museum_plugin.train.loop import train

DRAWN_SEED = 50_000
"""Of the first picture of each score; the next one is one more."""


@dataclass
class Result:
    """What one method did with one seed."""

    method: str
    seed: int
    styles: list[str]
    matrix: list[list[float]] = field(default_factory=list)
    """R[i][j]: score of style j after learning style i."""
    no_trigger: list[float] = field(default_factory=list)
    """Share of pictures without trigger judged flat, after each style."""
    objects: list[float] = field(default_factory=list)
    """Share of pictures with trigger whose object is recognised, for each style at the end."""
    judged: list[list[float]] = field(default_factory=list)
    """As `matrix`, by the judge that is in every run, which knows no classifier."""
    judged_drift: list[float] = field(default_factory=list)
    """The judge's drift of prompts without a trigger, after each style."""
    base_flat: float = 0.0
    """The same share as `no_trigger`, of the bare base."""

    @property
    def learned(self) -> float:
        """Mean score of each style right after it was learned."""
        return sum(row[-1] for row in self.matrix) / len(self.matrix) if self.method != JOINT else self.kept

    @property
    def kept(self) -> float:
        """Mean score of all styles at the end."""
        return sum(self.matrix[-1]) / len(self.matrix[-1])

    @property
    def forgetting(self) -> float:
        """Average forgetting of the matrix."""
        return average_forgetting(self.matrix) if self.method != JOINT else 0.0


def examine(museum: Museum, classifier: Classifier, styles: list[str], pictures: int) -> dict[str, Shown]:
    """Pictures of every style and without trigger."""
    scenes = held_out_scenes()[:pictures]
    return {
        name: show(museum.base, classifier, scenes, museum.phrase(name or None), seed=DRAWN_SEED)
        for name in ["", *styles]
    }


@dataclass(frozen=True)
class Setting:
    """What is the same for all methods and seeds."""

    styles: tuple[str, ...]
    out: Path
    flags: tuple[str, ...]
    """More flags of train_museum.py."""
    pictures: int
    """How many are drawn for each score."""


def teach_and_measure(method: str, seed: int, setting: Setting, classifier: Classifier) -> Result:
    """Teach the styles in order and examine the museum file after each."""
    styles, folder = list(setting.styles), setting.out / f"{method}-{seed}"
    result = Result(method, seed, styles)
    base = load_base(run_config(method, seed, folder, styles[0], setting.flags).base.path)
    with torch.no_grad():
        bare = show(base, classifier, held_out_scenes()[: setting.pictures], "", seed=DRAWN_SEED)
    result.base_flat = bare.style_rate(FLAT)
    for number, style in enumerate(styles):
        if method == JOINT and number + 1 < len(styles):
            continue
        run = run_config(method, seed, folder, style, setting.flags)
        if method == JOINT:
            museum = teach_jointly(run, styles)
        else:
            (finished,) = train(run)
            if finished.matrix:
                verdict = json.loads(finished.matrix.with_suffix(".json").read_text())
                result.judged.append(verdict["matrix"][-1])
                result.judged_drift.append(verdict["drift"])
            museum = open_museum(folder / "museum.safetensors", base)
        with torch.no_grad(), museum.attached():
            shown = examine(museum, classifier, styles[: number + 1], setting.pictures)
        result.matrix.append([shown[name].style_score(name) for name in styles[: number + 1]])
        result.no_trigger.append(shown[""].style_rate(FLAT))
        result.objects = [shown[name].object_rate() for name in styles[: number + 1]]
        print(f"{method} seed {seed} after {style}:", " ".join(f"{score:.2f}" for score in result.matrix[-1]),
              f"| flat {result.no_trigger[-1]:.2f}", flush=True)  # fmt: skip
        columns = {name or "no trigger": pictures.images[:6] for name, pictures in shown.items()}
        write_grid(
            folder / f"{number + 1:02d}-{style}.png", columns, [scene.caption() for scene in shown[""].scenes[:6]]
        )
    return result


def table(results: list[Result], seconds: dict[str, float]) -> str:
    """The figures of each method: mean over seeds.

    Args:
        seconds: of a step, by method; `joint` takes those of `finetune`.
    """
    methods = list(dict.fromkeys(result.method for result in results))
    by_method = {method: [r for r in results if r.method == method] for method in methods}
    mean = {
        method: [
            sum(values) / len(values)
            for values in zip(
                *((r.learned, r.kept, r.forgetting, r.no_trigger[-1], r.base_flat) for r in group), strict=True
            )
        ]
        for method, group in by_method.items()
    }
    head = ("learned", "at end", "kept", "forgetting", "no trigger", "of base's", "s/step")
    lines = [f"{'method':10}{'seeds':>6}" + "".join(f"{name:>12}" for name in head)]
    for method, (learned, kept, forgetting, flat, base_flat) in mean.items():
        numbers = (learned, kept, kept / max(learned, 1e-9), forgetting, flat, flat / max(base_flat, 1e-9))
        row = "".join(f"{value:12.3f}" for value in (*numbers, seconds.get(method, seconds.get("finetune", 0.0))))
        lines.append(f"{method:10}{len(by_method[method]):6}{row}")
    if {"museum", "finetune"} <= set(mean):
        ours, plain = mean["museum"], mean["finetune"]
        bars = (
            ("score at the end / just learned", ours[1] / max(ours[0], 1e-9), ">=", 0.9),
            ("plasticity / finetune's", ours[0] / max(plain[0], 1e-9), ">=", 0.85),
            ("no trigger, of the base's rate", ours[3] / max(ours[4], 1e-9), ">=", 0.9),
            ("step time / finetune's", seconds["museum"] / seconds["finetune"], "<=", 1.5),
        )
        lines.append("")
        for name, value, sign, bar in bars:
            holds = value >= bar if sign == ">=" else value <= bar
            lines.append(f"museum: {name:34}{value:8.3f}   {sign} {bar}   {'holds' if holds else 'does not hold'}")
    return "\n".join(lines)


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["finetune", "paper", "museum", JOINT])
    parser.add_argument("--styles", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--pictures", type=int, default=36, help="drawn for each score")
    parser.add_argument("--out", type=Path, default=Path("output/forgetting"))
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.WARNING)
    flags = [f"--{pair}" for pair in args.set] + ([f"--max_train_steps={args.steps}"] if args.steps else [])
    setting = Setting(tuple(STYLES)[: args.styles], args.out, tuple(flags), args.pictures)
    classifier, results = load_classifier(), []
    for seed in range(args.seeds):
        for method in args.methods:
            file = args.out / f"{method}-{seed}.json"
            if file.exists():
                results.append(Result(**json.loads(file.read_text())))
                continue
            result = teach_and_measure(method, seed, setting, classifier)
            file.write_text(json.dumps(asdict(result), indent=1))
            results.append(replace(result))
    seconds = median_seconds([method for method in args.methods if method != JOINT], flags)
    text = table(results, seconds)
    print(text)
    (args.out / "table.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
