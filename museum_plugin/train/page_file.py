"""The page about a museum that a run writes beside the grid, from what is drawn for the verdict anyway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from museum_plugin.config.files import write_atomically
from museum_plugin.judge.findings import Findings, confusion_of
from museum_plugin.judge.grid import to_pictures
from museum_plugin.judge.page import page
from museum_plugin.judge.page_content import PageContent
from museum_plugin.judge.retention import Verdict
from museum_plugin.judge.signature import signatures_of
from museum_plugin.museum.museum import Museum
from museum_plugin.train.exhibition import exhibition_of


def write_page(
    path: Path, museum: Museum, verdict: Verdict, learned: Mapping[str, float], drawn: Mapping[str, Tensor]
) -> None:
    """Write what a verdict tells without drawing anything more; `judge` also compares with the museum before.

    Args:
        learned: the score of each old style right after it was learned.
        drawn: the verdict's latents as pictures (N, 3, H, W) in [-1, 1].
    Raises:
        OutputError: the file cannot be written.
    """
    content = PageContent(
        name=path.stem,
        ledger=museum.ledger,
        findings=Findings(verdict, dict(learned), confusion_of(verdict, signatures_of(museum.ledger.styles))),
        prompts=exhibition_of(museum.ledger).prompts,
        now={column: to_pictures(images) for column, images in drawn.items()},
    )
    write_atomically(path, page(content).encode())
