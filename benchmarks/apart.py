"""Each style in a LoRA of its own, and what becomes of them in one: `separate`, `summed`, `merged`.

`separate` is the upper reference of what can be learned: a file for every style, one of which is loaded at a time.
`summed` adds up all changes of weights, as a client does that loads several LoRAs; `merged` is that sum cut down to the
rank of one LoRA by its largest singular values. The single LoRAs are those of `finetune`, under one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.lessons import run_config
from museum_plugin.base.load import BaseModel
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.resize import resized
from museum_plugin.museum.store import content_of, new_museum, open_museum
from museum_plugin.train import loop

SEPARATE, SUMMED, MERGED = "separate", "summed", "merged"
APART = (SEPARATE, SUMMED, MERGED)


def taught_apart(seed: int, style: str, out: Path, flags: Sequence[str]) -> Path:
    """The file of a museum that knows one style; taught at the first call."""
    folder = out / f"apart-{seed}" / style
    file = folder / "museum.safetensors"
    if not file.exists():
        loop.train(run_config("finetune", seed, folder, style, flags))
    return file


@torch.no_grad()
def summed(museums: Sequence[Museum], base: BaseModel) -> Museum:
    """One museum whose change of every weight is the sum of theirs; their ranks add up.

    Args:
        museums: with the same layers, and different styles.
    """
    ranks = sum(museum.network.rank for museum in museums)
    whole = new_museum(base, rank=ranks, alpha=ranks, seed=0, with_text_encoder=False)
    for key, layer in whole.network.layers.items():
        parts = [museum.network.layers[key] for museum in museums]
        layer.down.copy_(torch.cat([part.down for part in parts]))
        layer.up.copy_(torch.cat([part.scale * part.up for part in parts], 1))
    for museum in museums:
        (record,) = museum.ledger.styles
        whole.slots.add(museum.slots.slots[record.name], museum.slots.base_rows[record.name])
        whole.ledger = whole.ledger.with_style(record)
    return whole


def in_one_file(museums: Sequence[Museum], base: BaseModel, path: Path, *, merge: bool) -> Museum:
    """The sum of museums as a file, and opened again.

    Args:
        merge: down to the rank of one of them.
    """
    content, rank = content_of(summed(museums, base)), museums[0].network.rank
    if merge and len(museums) > 1:
        content, _ = resized(content, rank, None)
    write_museum(path, content, keep_history=0)
    return open_museum(path, base)
