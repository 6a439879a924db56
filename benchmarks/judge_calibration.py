"""How well the measures that are always there foretell what a classifier says of a museum.

python -m benchmarks.judge_calibration [output/forgetting/museum-0 ...] [--out output/judge_calibration]

Reads museums as `benchmarks/forgetting.py` left them: the file and its history are one museum after each style. For
every old style in every museum, the measures compare the museum with the one in which the style was just learned; the
pocket classifier says what share of its first score the style still has, and for pictures without a trigger, what share
is drawn as the base draws them. Printed are Spearman's rank correlations, and the means over good and over ruined
styles. What was drawn is kept in --out, museum by museum; run again, it goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.judge.confusion import confusion_matrix
from museum_plugin.judge.findings import examine, style_drift
from museum_plugin.judge.retention import BASE, NO_TRIGGER
from museum_plugin.judge.signature import signature, signatures_of, statistics_shift
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.pocket import MODEL_DIR
from museum_plugin.train.exhibition import exhibition_of

GOOD, RUINED = 0.8, 0.5
"""Shares of the classifier's first score from which on a style is good, and below which it is ruined."""


@dataclass(frozen=True)
class Reading:
    """One old style in one museum, or the pictures without a trigger."""

    museum: str
    number: int
    """Styles the museum knows."""
    style: str
    classified: float
    """Share of its first score by the classifier; without a trigger: of the base's rate of plain pictures."""
    kept: float
    """The judge's kept share; without a trigger, 1 - its drift."""
    prediction_drift: float
    statistics_shift: float
    recognized: float
    """Share of the pictures that are nearest to their own style; without a trigger, to the base."""


def museum_files(folder: Path) -> list[Path]:
    """A museum after each of its styles, from the first on."""
    return [*sorted((folder / "museum.history").glob("museum-*.bak")), folder / "museum.safetensors"]


@torch.no_grad()
def readings_of(folder: Path, base: BaseModel, out: Path) -> list[Reading]:
    """Measure all museums of one run of the benchmark, the second one first."""
    found = json.loads(folder.with_suffix(".json").read_text())
    readings: list[Reading] = []
    learned: dict[str, tuple[Museum, Tensor]] = {}
    drawn: dict[str, Tensor] = {}
    for number, path in enumerate(museum_files(folder), start=1):
        museum = open_museum(path, base)
        kept_file = out / f"{folder.name}-{number}.pt"
        if kept_file.exists():
            state = torch.load(kept_file, weights_only=True)
            drawn, rows = state["latents"], [Reading(**row) for row in state["readings"]]
        else:
            drawn, rows = _measure(museum, drawn, learned, found, folder.name)
            torch.save({"latents": drawn, "readings": [asdict(row) for row in rows]}, kept_file)
        readings += rows
        learned[museum.styles()[-1]] = (museum, drawn[museum.styles()[-1]])
        print(f"{folder.name}: {number} styles measured", flush=True)
    return readings


def _measure(
    museum: Museum, drawn: dict[str, Tensor], learned: dict[str, tuple[Museum, Tensor]], found: dict, run: str
) -> tuple[dict[str, Tensor], list[Reading]]:
    exhibition, names = exhibition_of(museum.ledger), museum.styles()
    findings = examine(museum, None, exhibition, base_latents=drawn.get(BASE), before={})
    latents, base = findings.verdict.latents, signature(findings.verdict.latents[BASE])
    signatures = signatures_of(museum.ledger.styles)
    neutral = confusion_matrix({NO_TRIGGER: latents[NO_TRIGGER]}, {**signatures, BASE: base})[NO_TRIGGER]
    at, matrix = len(names) - 1, found["matrix"]
    rows = [
        Reading(
            run,
            len(names),
            NO_TRIGGER,
            min(1.0, found["no_trigger"][at] / found["base_flat"]),
            1 - findings.verdict.drift,
            findings.prediction_drift[NO_TRIGGER],
            statistics_shift_of_neutral(latents),
            neutral[BASE],
        )
    ]
    kept = findings.verdict.kept(findings.learned)
    for j, name in enumerate(names[:-1]):
        then, seen = learned[name]
        drift, _ = style_drift(museum, then, name, exhibition, seen)
        shift = statistics_shift(signature(latents[name]), signature(seen), base)
        classified = min(1.0, matrix[at][j] / max(matrix[j][j], 1e-9))
        rows.append(
            Reading(run, len(names), name, classified, kept[name], drift, shift, findings.confusion[name][name])
        )
    return latents, rows


def statistics_shift_of_neutral(latents: dict[str, Tensor]) -> float:
    """Distance of pictures without a trigger from the base's, as part of how far the styles' pictures are from them."""
    base = signature(latents[BASE])
    styles = [signature(value) for name, value in latents.items() if name not in (BASE, NO_TRIGGER)]
    moved = [statistics_shift(signature(latents[NO_TRIGGER]), base, style) for style in styles]
    return sum(moved) / len(moved)


def ranks(values: Sequence[float]) -> Tensor:
    """Rank of each value from 0 on; equal values share the mean of theirs."""
    numbers = torch.tensor(values, dtype=torch.float64)
    below = (numbers[None] < numbers[:, None]).sum(dim=1)
    equal = (numbers[None] == numbers[:, None]).sum(dim=1)
    return below + (equal - 1) / 2


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, -1..1; 0 where one of both is constant."""
    x, y = (ranks(values) - ranks(values).mean() for values in (a, b))
    scale = (x.norm() * y.norm()).item()
    return (x @ y).item() / scale if scale > 0 else 0.0


MEASURES = {
    "kept": "kept share (signature)",
    "prediction_drift": "prediction drift",
    "statistics_shift": "statistics shift",
    "recognized": "recognized by trigger",
}


def table(readings: list[Reading]) -> str:
    """Rank correlation with the classifier, and means over the good and the ruined ones."""
    lines = []
    groups = {
        "old styles": [row for row in readings if row.style != NO_TRIGGER],
        "without a trigger": [row for row in readings if row.style == NO_TRIGGER],
    }
    for title, rows in groups.items():
        good = [row for row in rows if row.classified >= GOOD]
        ruined = [row for row in rows if row.classified < RUINED]
        lines.append(f"{title}: {len(rows)}, of which {len(good)} good and {len(ruined)} ruined")
        lines.append(f"  {'measure':28}{'rank correlation':>18}{'good':>12}{'ruined':>12}")
        for name, label in MEASURES.items():
            correlation = rank_correlation([getattr(r, name) for r in rows], [r.classified for r in rows])
            means = "".join(
                f"{sum(getattr(r, name) for r in group) / len(group):12.2f}" if group else f"{'-':>12}"
                for group in (good, ruined)
            )
            lines.append(f"  {label:28}{correlation:+18.2f}{means}")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [Path(f"output/forgetting/{method}-0") for method in ("finetune", "paper", "museum")]
    parser.add_argument("museums", nargs="*", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=Path("output/judge_calibration"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    base = load_base(MODEL_DIR)
    readings = [row for folder in args.museums for row in readings_of(folder, base, args.out)]
    text = table(readings)
    print(text)
    (args.out / "table.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
