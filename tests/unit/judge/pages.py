"""Content for pages: what was found is made up, the pictures are plain colors."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from PIL import Image

from museum_plugin.judge.findings import Findings
from museum_plugin.judge.memorization import Memorization
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.retention import BASE, NO_TRIGGER, Verdict
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord

PROMPTS = ("a red cat & a <dog>", "two fish")


def record(name: str, scores: dict[str, float]) -> StyleRecord:
    return StyleRecord(
        name,
        f"word-{name}",
        (f"word-{name}",),
        (7,),
        "2026-03-04T05:06:07+00:00",
        1400,
        12,
        "p",
        "museum",
        {},
        {},
        scores,
    )


def ledger_of(names: tuple[str, ...], first: float, now: float) -> Ledger:
    """Every style scored `first` when it was learned, and old ones `now` after the newest."""
    ledger = Ledger("ab" * 16, BaseRecord("f", "sd1", "epsilon", "tiny"), NetworkRecord(4, 4.0, ("lora_unet_a",)))
    for i, name in enumerate(names):
        last = i == len(names) - 1
        scores = {old: now if last else first for old in names[:i]} | {name: first}
        ledger = ledger.with_style(record(name, scores))
    return replace(ledger, extra={"exhibition": {"prompts": list(PROMPTS), "seed": 3, "steps": 20}})


def content_of(
    names: tuple[str, ...] = ("ink", "neon <b>"), *, first: float = 0.8, now: float = 0.72, with_before: bool = True
) -> PageContent:
    def drawn(columns: list[str]) -> dict[str, list[Image.Image]]:
        colors = [(40 * i % 256, 90, 255 - 30 * i % 256) for i in range(len(columns))]
        return {c: [Image.new("RGB", (64, 48), rgb)] * len(PROMPTS) for c, rgb in zip(columns, colors, strict=True)}

    scores = {name: now for name in names[:-1]} | {names[-1]: first}
    verdict = Verdict(names, scores, 0.05, {name: name for name in names}, {BASE: torch.zeros(1)})
    row = dict.fromkeys((*names, BASE), 0.0)
    findings = Findings(
        verdict,
        learned=dict.fromkeys(names[:-1], first),
        confusion={name: {**row, name: 1.0} for name in names},
        prediction_drift={NO_TRIGGER: 0.11, **dict.fromkeys(names[:-1], 0.21)},
        statistics_shift=dict.fromkeys(names[:-1], 0.31),
        memorization={names[0]: Memorization((0.4, 1.2), (0, 1), 2.0)},
    )
    ledger = ledger_of(names, first, now)
    course = [{"step": s, "score": s / 100, "kept": {names[0]: 0.9}, "drift": 0.1} for s in (20, 40)]
    styles = (*ledger.styles[:-1], replace(ledger.styles[-1], extra={"course": course}))
    return PageContent(
        name="mine",
        ledger=replace(ledger, styles=styles),
        findings=findings,
        prompts=PROMPTS,
        now=drawn([BASE, NO_TRIGGER, *names]),
        before=drawn([NO_TRIGGER, *names[:-1]]) if with_before else {},
        before_name="mine-0001.safetensors.bak" if with_before else "",
        training={names[0]: [Image.new("RGB", (64, 48))] * 2},
        losses={names[-1]: {"denoising": [(float(i), math.exp(-i / 9)) for i in range(30)]}},
    )
