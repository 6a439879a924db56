"""A museum on a base with all keys, and its exports; made once for all clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from museum_plugin.base.encode import token_embedding
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.export.plain_words import PlainPlan, PlainWords, learn_plain_words
from museum_plugin.export.publish import Order, publish
from museum_plugin.export.targets import TARGETS
from museum_plugin.museum.file import read_museum, write_museum
from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.store import content_of, new_museum
from museum_plugin.museum.triggers import single_token
from tests.clients.bases import SLOT_WORDS, write_full_base
from tests.sdxl_models import write_tiny_sdxl
from tests.tiny_museums import shake

STYLES = {"ink": SLOT_WORDS[:1], "neon": SLOT_WORDS[1:]}
"""One with a word, one with two."""


@dataclass(frozen=True)
class Exhibit:
    """A museum, its base, and its exports."""

    family: str
    base_folder: Path
    museum: Museum
    words: PlainWords
    """In the file for plain words."""
    exports: Path

    @property
    def base(self) -> BaseModel:
        return self.museum.base

    def lora(self, target: str) -> Path:
        return self.exports / f"mine-{target}" / "mine.safetensors"

    def text(self, target: str) -> str:
        return self.lora(target).with_suffix(".txt").read_text(encoding="utf-8")

    def sidecar(self, style: str, target: str = "diffusers") -> Path:
        return self.exports / f"mine-{target}" / "embeddings" / f"{self.museum.phrase(style)}.safetensors"


@pytest.fixture(scope="session", params=["sd1", "sd2", "sdxl"])
def exhibit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exhibit:
    folder = tmp_path_factory.mktemp(request.param)
    write = write_tiny_sdxl if request.param == "sdxl" else partial(write_full_base, family=request.param)
    base = load_base(write(folder / "base"))
    museum = new_museum(base, rank=2, alpha=1.0, seed=1, with_text_encoder=True)
    rng = torch.Generator().manual_seed(0)
    for name, words in STYLES.items():
        ids = tuple(single_token(base, word) for word in words)
        widths = [token_embedding(encoder).embedding_dim for encoder in base.text_encoders]
        museum.slots.add(Slot(name, words, ids, tuple(torch.randn(len(words), d, generator=rng) for d in widths)))
        taught = "2026-01-02T03:04:05+00:00"
        record = StyleRecord(name, " ".join(words), words, ids, taught, 5, 4, name, "museum", {}, {})
        museum.ledger = museum.ledger.with_style(record)
    shake(museum.network, rng, size=0.05)
    path = folder / "mine.safetensors"
    write_museum(path, content_of(museum), keep_history=0)
    with museum.attached():
        words = learn_plain_words(museum, tuple(STYLES), TextEncoding(), PlainPlan(rank=3, steps=5, prompts=2))
    order = Order(
        path, tuple(TARGETS.values()), folder / "exports", precision="float", plain_words=lambda styles: words
    )
    publish(read_museum(path), order)
    return Exhibit(request.param, folder / "base", museum, words, folder / "exports")


@pytest.fixture
def drawn_by_us(exhibit: Exhibit) -> Iterator[Museum]:
    """Our own side: the museum at work on its base."""
    with exhibit.museum.attached():
        yield exhibit.museum
