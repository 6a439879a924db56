"""Teach the shipped styles one after another with each method, and measure what was learned and what was forgotten.

python -m benchmarks.forgetting [--quick] [--methods finetune paper museum ...] [--styles 8] [--seeds 3]
       [--orders shipped second] [--steps N] [--pictures N] [--out output/forgetting] [--set FLAG=VALUE ...]

The settings are the demo's (`presets/demo.toml`). Scores are the pocket classifier's: the probability of the right
style in pictures of held-out captions, drawn with the style's trigger. Beside the methods of `--method` there are
`joint`, all styles taught at once, and what becomes of styles that were each taught alone: `separate`, `summed` and
`merged` (`benchmarks/apart.py`). What a run has found is written after each style; run again, it goes on behind that.
At the end a table, its numbers as JSON and a plot are written into the same folder. `--quick` is a look at it in
about five minutes on two cores: four methods, three styles, few steps and pictures, one seed.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from benchmarks.apart import APART
from benchmarks.forgetting_plot import write_plot
from benchmarks.forgetting_table import bars, gathered, summary, table, taught_in_a_row
from benchmarks.lessons import JOINT
from benchmarks.result import SHIPPED, Result, read_result, run_name, write_result
from benchmarks.step_time import median_seconds
from benchmarks.teaching import Setting, teach_and_measure
from museum_plugin.methods import METHODS
from museum_plugin.pocket.classifier import Classifier, load_classifier
from museum_plugin.pocket.styles import STYLES

ORDERS: dict[str, tuple[str, ...]] = {
    SHIPPED: tuple(STYLES),
    "second": ("mosaic", "riso", "blueprint", "stained", "neon", "ink", "pastel", "dots"),
}
EVERY = (*METHODS, JOINT, *APART)
_USUAL = {"methods": EVERY, "styles": 8, "seeds": 3, "pictures": 36, "steps": None, "out": Path("output/forgetting")}
_QUICK = {"methods": ("finetune", "paper", "museum", "separate"), "styles": 3, "seeds": 1, "pictures": 6, "steps": 60,
          "out": Path("output/forgetting_quick")}  # fmt: skip
_QUICK_FLAGS = ("--replay_sampling_steps=8", "--sample_steps=8")


def styles_in(order: str, count: int) -> tuple[str, ...]:
    """The first `count` shipped styles, in an order."""
    return tuple(style for style in ORDERS[order] if style in tuple(STYLES)[:count])


def result_of(method: str, seed: int, setting: Setting, classifier: Classifier) -> Result:
    """What an earlier run has written, else what is found now.

    Raises:
        SystemExit: the file there is of other styles.
    """
    file = setting.out / f"{run_name(method, seed, setting.order)}.json"
    if not file.exists():
        write_result(teach_and_measure(method, seed, setting, classifier), setting.out)
    result = read_result(file)
    if tuple(result.styles) != setting.styles:
        raise SystemExit(
            f"{file}: found {', '.join(result.styles)}, not {', '.join(setting.styles)}; give another --out"
        )
    return result


def parsed() -> argparse.Namespace:
    """The command line, what was not given filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=EVERY, metavar="METHOD")
    parser.add_argument("--orders", nargs="+", default=[SHIPPED], choices=list(ORDERS), metavar="ORDER")
    parser.add_argument("--styles", type=int, choices=range(1, len(STYLES) + 1), metavar="N")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--steps", type=int, help="of each style")
    parser.add_argument("--pictures", type=int, help="drawn for each score")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], metavar="FLAG=VALUE", help="more flags of train_museum.py")
    args = parser.parse_args()
    for name, value in (_QUICK if args.quick else _USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def main() -> None:
    """Run what is not there yet; print and write what was found."""
    args = parsed()
    logging.getLogger("museum").setLevel(logging.WARNING)
    flags = [*(_QUICK_FLAGS if args.quick else ()), *(f"--{pair}" for pair in args.set)]
    flags += [f"--max_train_steps={args.steps}"] if args.steps else []
    args.out.mkdir(parents=True, exist_ok=True)
    classifier, results = load_classifier(), []
    for seed in range(args.seeds):
        for order in args.orders:
            setting = Setting(styles_in(order, args.styles), order, args.out, tuple(flags), args.pictures)
            results += [result_of(method, seed, setting, classifier) for method in args.methods]
    untimed = {r.method for r in results if not r.step_seconds and taught_in_a_row(r.method)}
    found = gathered(results, median_seconds(sorted(untimed), flags) if untimed else {})
    text = "\n".join(filter(None, (table(found), "", bars(found))))
    print(text)
    (args.out / "table.txt").write_text(text + "\n")
    (args.out / "table.json").write_text(json.dumps(summary(found), indent=1))
    write_plot(args.out / "plot.png", results)


if __name__ == "__main__":
    main()
