"""Which style goes on from a checkpoint, told before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from museum_plugin.errors import ConfigError
from museum_plugin.train.checkpoint import check_unfinished


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.unfinished.pt"
    torch.save({"identity": {}, "style": "ink", "step": 40}, path)
    return path


def test_the_next_style_goes_on(checkpoint: Path) -> None:
    assert check_unfinished(checkpoint, ["ink", "dots"], ()) == f"ink after step 40, from {checkpoint}"


def test_there_is_nothing_to_go_on_from(checkpoint: Path, tmp_path: Path) -> None:
    assert check_unfinished(tmp_path / "none.pt", ["ink"], ()) is None
    assert check_unfinished(checkpoint, ["dots"], ("ink",)) is None
    assert check_unfinished(checkpoint, [], ()) is None


def test_another_style_must_be_finished_first(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="style 'ink' was not finished"):
        check_unfinished(checkpoint, ["dots", "ink"], ())


def test_a_damaged_file_is_named(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="checkpoint is damaged"):
        check_unfinished(checkpoint, ["ink"], ())
