"""`judge`: the drawing and measuring, and the files."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from museum_plugin.base.encode import decode_latents
from museum_plugin.base.load import BaseModel
from museum_plugin.cli.judge import Case
from museum_plugin.cli.museum_base import base_to_draw_with
from museum_plugin.cli.text_lines import counted, printable
from museum_plugin.cli.training_pictures import fitted, training_files, training_latents
from museum_plugin.config.files import write_atomically
from museum_plugin.judge.backbone import load_backbone
from museum_plugin.judge.backbone_findings import backbone_findings
from museum_plugin.judge.findings import Findings, examine
from museum_plugin.judge.grid import to_pictures, write_grid
from museum_plugin.judge.loss_curves import read_loss_curves
from museum_plugin.judge.page import page
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.retention import Exhibition
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.train.exhibition import exhibition_of


def judge_case(case: Case, chosen_base: Path | None) -> list[str]:
    """Draw, measure and write the page, the numbers and the grid.

    Returns:
        lines for the user.
    Raises:
        MuseumError: base, museums, training pictures or logs cannot be used, or a file cannot be written.
    """
    exhibition = exhibition_of(case.ledger)
    training = {name: training_files(place, name) for name, place in case.images.items()}
    shown = {name: [fitted(path, exhibition.plan) for path in files] for name, files in training.items()}
    curves = read_loss_curves(case.logs) if case.logs else {}
    backbone = load_backbone(case.backbone) if case.backbone else None
    base = base_to_draw_with(case.museum, case.ledger, chosen_base)
    museum = open_museum(case.museum, base)
    earlier = open_museum(case.before, base) if case.before else None
    columns = 2 + len(museum.styles()) + (1 + len(earlier.styles()) if earlier else 0)
    tqdm.write(f"drawing {counted(columns * len(exhibition.prompts), 'picture')} ...")
    findings = examine(
        museum, earlier, exhibition, {name: training_latents(base, found) for name, found in shown.items()}
    )
    now, before = _decoded(base, findings.verdict.latents), _decoded(base, findings.before)
    content = PageContent(
        name=case.museum.stem,
        ledger=museum.ledger,
        findings=findings,
        prompts=exhibition.prompts,
        now=now,
        before=before,
        before_name=case.before.name if case.before else "",
        training=shown,
        losses=curves,
        seen=backbone_findings(backbone, now, before, shown, exhibition.prompts) if backbone else {},
        backbone=backbone.name if backbone else "",
    )
    return [*_verdict(findings), *_seen(content), "", *_write(case, exhibition, museum, content)]


def _decoded(base: BaseModel, latents: dict) -> dict[str, list[Image.Image]]:
    return {name: to_pictures(decode_latents(base, found)) for name, found in latents.items()}


def _verdict(findings: Findings) -> list[str]:
    lines = [printable(line) for line in findings.verdict.sentences(findings.learned)]
    against = findings.objections()
    return [
        *lines,
        f"the gate would refuse it: {printable('; '.join(against))}" if against else "the gate lets it pass",
    ]


def _seen(content: PageContent) -> list[str]:
    if not content.seen:
        return []
    width = max(map(len, content.seen))
    rows = [f"  {printable(name):{width}}  {found.sentence()}" for name, found in content.seen.items()]
    return ["", f"by {printable(content.backbone)}", *rows]


def _write(case: Case, exhibition: Exhibition, museum: Museum, content: PageContent) -> list[str]:
    stem = case.out / case.museum.stem
    told = {
        "museum": case.museum.name,
        "museum_id": museum.ledger.museum_id,
        "before": case.before.name if case.before else None,
        "exhibition": museum.ledger.extra["exhibition"],
        **content.findings.to_dict(),
    }
    if content.seen:
        told["backbone"] = {"name": content.backbone, **{n: found.to_dict() for n, found in content.seen.items()}}
    numbers, grid, shown = (stem.with_name(stem.name + end) for end in ("-judge.json", "-judge.png", ".html"))
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(numbers, text.encode())
    write_grid(grid, {content.title(name): pictures for name, pictures in content.now.items()}, exhibition.prompts)
    write_atomically(shown, page(content).encode())
    return [f"page     {shown}", f"numbers  {numbers}", f"grid     {grid}"]
