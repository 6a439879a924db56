"""A museum of two styles on a tiny base, with one earlier version; each test gets a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from museum_plugin.base.load import load_base
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.store import content_of, new_museum
from tests.tiny_models import write_tiny_base
from tests.unit.cli.museums import SLOT_WORDS, with_exhibition, with_style


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def shelf(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.safetensors (ink, dots) and its history (ink)."""
    base = load_base(tiny_base)
    museum = new_museum(base, rank=2, alpha=1.0, seed=1, with_text_encoder=False)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in museum.network.layers.values():
            layer.up.normal_(0, 1.0, generator=rng)
    museum.ledger = with_exhibition(museum.ledger)
    path = tmp_path_factory.mktemp("shelf") / "mine.safetensors"
    for name in ("ink", "dots"):
        _teach(museum, name, tiny_base, rng)
        write_museum(path, content_of(museum), keep_history=5)
    return path.parent


def _teach(museum: Museum, name: str, folder: Path, rng: torch.Generator) -> None:
    word = SLOT_WORDS[name]
    (token,) = museum.base.tokenizers[0](word, add_special_tokens=False).input_ids
    museum.slots.add(Slot(name, (word,), (token,), (torch.randn(1, 16, generator=rng) * 3,)))
    museum.ledger = with_style(museum.ledger, name, token, str(folder))


@pytest.fixture
def museum(shelf: Path, tmp_path: Path) -> Path:
    """The file of a museum that a test may change."""
    shutil.copytree(shelf, tmp_path / "shelf")
    return tmp_path / "shelf" / "mine.safetensors"
