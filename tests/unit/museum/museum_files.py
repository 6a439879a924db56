"""Museum contents and files for the tests of the format."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from museum_plugin.museum.file import MuseumContent, slots_key
from museum_plugin.museum.keys import kohya_key
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord

PATHS = ("down_blocks.0.attentions.0.proj_in", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k")
TARGETS = (*(kohya_key("unet", path) for path in PATHS), kohya_key("te", "encoder.layers.0.mlp.fc1"))
KOHYA = re.compile(r"lora_(unet|te|te1|te2)_\w+\.(lora_down\.weight|lora_up\.weight|alpha)")
CLIP_L = slots_key("clip_l")
DOWN = f"{TARGETS[0]}.lora_down.weight"


def style(name: str, *words: str) -> StyleRecord:
    ids = tuple(range(5, 5 + len(words)))
    taught_at = "2026-01-02T03:04:05+00:00"
    return StyleRecord(name, " ".join(words), words, ids, taught_at, 9, 3, "ab", "museum", {}, {}, {name: 0.5})


def museum(*styles: StyleRecord, family: str = "sd1", seed: int = 0) -> MuseumContent:
    rng = torch.Generator().manual_seed(seed)
    lora = {}
    for i, key in enumerate(TARGETS):
        kernel = (1, 1) if i == 0 else ()  # proj_in of SD1 is a convolution
        lora[f"{key}.lora_down.weight"] = torch.randn(4, 6, *kernel, generator=rng)
        lora[f"{key}.lora_up.weight"] = torch.randn(8, 4, *kernel, generator=rng)
        lora[f"{key}.alpha"] = torch.tensor(0.1)
    widths = {"sd1": {"clip_l": 16}, "sd2": {"clip_h": 16}, "sdxl": {"clip_l": 16, "clip_g": 24}}[family]
    slots = {
        record.name: {encoder: torch.randn(len(record.words), d, generator=rng) for encoder, d in widths.items()}
        for record in styles
    }
    base = BaseRecord("f00d", family, "epsilon", "pocket")
    ledger = Ledger("1" * 32, base, NetworkRecord(4, 0.1, TARGETS), styles)
    return MuseumContent(lora, slots, ledger, {"ss_seed": "7", "modelspec.title": "Größe"})


def three_styles(**options: str) -> MuseumContent:
    return museum(style("hatch", "nlwx"), style("水彩", "rctid", "bsgo"), style("neon", "coyi"), **options)


def assert_same(one: MuseumContent, other: MuseumContent) -> None:
    assert one.ledger == other.ledger
    assert one.metadata == other.metadata
    for mine, its in ((one.lora, other.lora), *((one.slots[name], other.slots[name]) for name in one.slots)):
        assert sorted(mine) == sorted(its)
        assert all(torch.equal(mine[name], its[name]) for name in mine)
    assert list(one.slots) == list(other.slots)


def rewritten(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], None]) -> None:
    """Change a file as another tool would."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata or None)
