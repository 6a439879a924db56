"""A tiny base, loaded once for each file of tests; nothing may change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.base.load import BaseModel, load_base
from tests.tiny_models import write_tiny_base


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("shared base") / "tiny")


@pytest.fixture(scope="module")
def base(base_folder: Path) -> BaseModel:
    return load_base(base_folder)
