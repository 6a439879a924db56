"""Whether a backbone judges better than colors alone, and how well the measures that are always there foretell it.

python -m benchmarks.backbone_calibration [--drawn output/judge_calibration] [--backbone efficientnet]

Reads what `benchmarks.judge_calibration` drew: museums after each of their styles, with what the pocket classifier says
of every old style in them. Each is compared with the museum in which it was just learned, as `judge --backbone` does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.judge_calibration import GOOD, RUINED, Reading, rank_correlation
from museum_plugin.base.encode import decode_latents
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.cli.training_pictures import fitted, training_files
from museum_plugin.judge.backbone import EFFICIENTNET, Backbone, load_backbone
from museum_plugin.judge.backbone_findings import BackboneFinding, backbone_findings
from museum_plugin.judge.grid import to_pictures
from museum_plugin.judge.retention import BASE, NO_TRIGGER
from museum_plugin.pocket import MODEL_DIR

EXAMPLES = Path(__file__).parents[1] / "examples" / "styles"
Drawn = dict[str, list[Image.Image]]


@dataclass(frozen=True)
class Row:
    """An old style in one museum."""

    known: Reading
    found: BackboneFinding
    colors_kept: float
    """`colors` now / when it was just learned."""


def pictures_of(latents: dict[str, Tensor], base: BaseModel) -> Drawn:
    """Decoded."""
    return {name: to_pictures(decode_latents(base, found)) for name, found in latents.items()}


@torch.no_grad()
def rows_of(run: str, drawn: Path, base: BaseModel, backbone: Backbone) -> list[Row]:
    """Every old style in every museum of one run."""
    rows: list[Row] = []
    first: Drawn = {}
    colors: dict[str, float] = {}
    training: Drawn = {}
    for file in sorted(drawn.glob(f"{run}-*.pt"), key=lambda path: int(path.stem.rpartition("-")[2])):
        state = torch.load(file, weights_only=True)
        now = pictures_of(state["latents"], base)
        width, height = now[BASE][0].size
        plan, styles = SamplingPlan(width=width, height=height), [n for n in now if n not in (BASE, NO_TRIGGER)]
        new = styles[-1]
        training[new] = [fitted(path, plan) for path in training_files(EXAMPLES / new, new)]
        prompts = [str(i) for i in range(len(now[BASE]))]  # each picture of another scene
        found = backbone_findings(backbone, now, first, training, prompts)
        readings = [Reading(**row) for row in state["readings"]]
        rows += [
            Row(known, found[known.style], min(1.0, found[known.style].colors / max(colors[known.style], 1e-9)))
            for known in readings
            if known.style != NO_TRIGGER
        ]
        first[new], colors[new] = now[new], found[new].colors
        print(f"{run}: {len(styles)} styles looked at", flush=True)
    return rows


MEASURES = {
    "closeness": lambda row: row.found.closeness,
    "kept": lambda row: row.found.kept if row.found.kept is not None else 0.0,
    "moved": lambda row: row.found.moved,
    "margin to the next style": lambda row: row.found.margin,
    "colors kept": lambda row: row.colors_kept,
    "content": lambda row: row.found.content,
    "diversity": lambda row: row.found.diversity,
}
ALWAYS = {
    "kept share (signature)": lambda row: row.known.kept,
    "prediction drift": lambda row: row.known.prediction_drift,
    "statistics shift": lambda row: row.known.statistics_shift,
}


def table(rows: list[Row], name: str) -> str:
    """Rank correlations with the classifier, means over good and ruined styles, and what the others say of `moved`."""
    good = [row for row in rows if row.known.classified >= GOOD]
    ruined = [row for row in rows if row.known.classified < RUINED]
    lines = [f"{name}: {len(rows)} old styles, of which {len(good)} good and {len(ruined)} ruined"]
    lines.append(f"  {'measure':28}{'rank correlation':>18}{'good':>12}{'ruined':>12}")
    for label, measure in MEASURES.items():
        correlation = rank_correlation([measure(row) for row in rows], [row.known.classified for row in rows])
        means = (f"{sum(map(measure, group)) / max(1, len(group)):12.2f}" for group in (good, ruined))
        lines.append(f"  {label:28}{correlation:+18.2f}{''.join(means)}")
    lines.append('  what is always there, with its "moved"')
    moved = [row.found.moved for row in rows]
    for label, measure in ALWAYS.items():
        lines.append(f"  {label:28}{rank_correlation([measure(row) for row in rows], moved):+18.2f}")
    return "\n".join(lines)


def main() -> None:
    """Look, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=Path, default=Path("output/judge_calibration"))
    parser.add_argument("--backbone", default=EFFICIENTNET, metavar="NAME|FOLDER")
    args = parser.parse_args()
    runs = sorted({path.stem.rpartition("-")[0] for path in args.drawn.glob("*.pt")})
    if not runs:
        parser.error(f"{args.drawn} holds nothing that was drawn: run benchmarks.judge_calibration first")
    base, backbone = load_base(MODEL_DIR), load_backbone(args.backbone)
    rows = [row for run in runs for row in rows_of(run, args.drawn, base, backbone)]
    print(table(rows, backbone.name))


if __name__ == "__main__":
    main()
