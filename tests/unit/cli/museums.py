"""What the museum of these tests records, and how its commands are called."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from museum_plugin.museum.ledger import Ledger, StyleRecord
from tests.tiny_models import TINY_SLOT_WORDS

ROOT = Path(__file__).parents[3]
SLOT_WORDS = dict(zip(("ink", "dots"), TINY_SLOT_WORDS, strict=False))
SCORES = {"ink": {"ink": 0.8}, "dots": {"ink": 0.6, "dots": 0.75}}
"""After each style."""


def with_exhibition(ledger: Ledger) -> Ledger:
    exhibition = {
        "prompts": ["a red cat", "two fish"],
        "seed": 7,
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance": 3.0,
        "clip_skip": 1,
    }
    return replace(ledger, extra={"exhibition": exhibition})


def with_style(ledger: Ledger, name: str, token: int, base: str) -> Ledger:
    number = len(ledger.styles) + 1
    return ledger.with_style(
        StyleRecord(
            name=name,
            trigger=SLOT_WORDS[name],
            words=(SLOT_WORDS[name],),
            token_ids=(token,),
            taught_at=f"2026-03-0{number}T05:06:07+00:00",
            steps=400 + number,
            pictures=10 + number,
            data_fingerprint=f"print{number}",
            method="museum",
            weights={"denoising": 1.0, "function_lock": 2.5},
            settings={"pretrained_model_name_or_path": base, "network_dim": 2, "noise_offset": None},
            scores=SCORES[name],
            signature={"mean": [0.5, 1.5], "covariance": [[1.0], [0.0, 1.0]]},
            extra={"captions": ["a boat", "a tree"]},
        )
    )


def museum_command(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m museum_plugin` as a user calls it."""
    command = [sys.executable, "-m", "museum_plugin", *map(str, words)]
    return subprocess.run(
        command,
        cwd=folder or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def flags_of_a_new_style(base: Path, museum: Path, dataset: Path, out: Path) -> list[str]:
    """What adds the style of a dataset file to a museum of two."""
    return [
        f"--pretrained_model_name_or_path={base}",
        f"--museum={museum}",
        f"--output_dir={out}",
        f"--dataset_config={dataset}",
        "--network_dim=2",
        "--network_alpha=1",
    ]
