"""Museums of every family without a base model: the real key names and embedding widths, few layers, random numbers."""

from __future__ import annotations

import torch

from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord

RANK = 2
SLOT_IDS = {"nlwx": 49260, "rctid": 49223, "bsgo": 48474, "coyi": 48407, "ssnhq": 47998, "nmwx": 47967}
"""Words of CLIP's vocabulary and their ids."""
MORE_WORDS = {f"free{number}": 30000 + number for number in range(20)}
"""Stand for any other single tokens."""
ENCODERS = {"sd1": {"clip_l": 768}, "sd2": {"clip_h": 1024}, "sdxl": {"clip_l": 768, "clip_g": 1280}}
_ATTENTION = "attentions_0_transformer_blocks_0_attn1_to_q"
_LAYERS = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2")
_UNET = {
    "sd1": (f"down_blocks_0_{_ATTENTION}", f"mid_block_{_ATTENTION}"),
    "sd2": (f"down_blocks_0_{_ATTENTION}", f"mid_block_{_ATTENTION}"),
    "sdxl": ("input_blocks_4_1_transformer_blocks_0_attn1_to_q", "middle_block_1_transformer_blocks_0_attn1_to_q"),
}


def targets_of(family: str) -> tuple[str, ...]:
    """Some kohya keys of a family, sorted."""
    parts = ("te1", "te2") if family == "sdxl" else ("te",)
    text = [f"lora_{part}_text_model_encoder_layers_0_{layer}" for part in parts for layer in _LAYERS]
    return tuple(sorted([*(f"lora_unet_{key}" for key in _UNET[family]), *text]))


def style(name: str, *words: str) -> StyleRecord:
    ids = tuple({**SLOT_IDS, **MORE_WORDS}.get(word, 40000) for word in words)
    taught_at = "2026-01-02T03:04:05+00:00"
    return StyleRecord(name, " ".join(words), words, ids, taught_at, 9, 3, "ab", "museum", {}, {}, {name: 0.5})


def family_museum(family: str, *styles: StyleRecord, with_base_rows: bool = True) -> MuseumContent:
    """A museum as a file holds it; each number depends on nothing but its place."""
    rng = torch.Generator().manual_seed(0)
    lora = {}
    for key in targets_of(family):
        lora[f"{key}.lora_down.weight"] = torch.randn(RANK, 8, generator=rng)
        lora[f"{key}.lora_up.weight"] = torch.randn(8, RANK, generator=rng)
        lora[f"{key}.alpha"] = torch.tensor(1.0)

    def rows(record: StyleRecord) -> dict[str, torch.Tensor]:
        size = len(record.words)
        return {name: torch.randn(size, width, generator=rng) * 0.02 for name, width in ENCODERS[family].items()}

    slots = {record.name: rows(record) for record in styles if record.words}
    base_rows = {record.name: rows(record) for record in styles if record.words}
    base = BaseRecord("f00d", family, "epsilon", f"a base of {family}")
    ledger = Ledger("1" * 32, base, NetworkRecord(RANK, 1.0, targets_of(family)), styles)
    return MuseumContent(lora, slots, ledger, {"ss_seed": "7"}, base_rows if with_base_rows else {})


def many_styles(count: int) -> tuple[StyleRecord, ...]:
    """Styles with a word each."""
    words = [*SLOT_IDS, *MORE_WORDS]
    return tuple(style(f"style{number}", words[number]) for number in range(count))
