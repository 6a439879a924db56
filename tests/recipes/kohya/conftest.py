"""A base inside the stand-in for sd-scripts, and trainers that teach its styles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from museum_plugin.base.load import BaseModel, load_base
from tests.recipes import sd_scripts
from tests.recipes.school import TRIGGERS, School
from tests.recipes.sd_scripts import QUICK, Host, Trainer, arguments


@pytest.fixture
def base(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> BaseModel:
    base = load_base(tiny_base)
    sd_scripts.install(monkeypatch, base)
    return base


@pytest.fixture
def host(base: BaseModel, school: School) -> Iterator[Host]:
    """A trainer that is about to teach a style of the school to its museum."""
    made: list[Trainer] = []

    def trainer(style: str = "ink", network_args: dict[str, str] | None = None, **changes: Any) -> Trainer:
        ours = {**QUICK, "museum": str(school.museum), "style": style, "trigger": TRIGGERS.get(style, "auto")}
        usual = {"output_dir": str(school.folder / "host"), "output_name": style}
        args = arguments(pretrained_model_name_or_path=str(school.base), **{**usual, **changes})
        pictures = sorted((school.pictures / style).glob("*.png"))
        made.append(Trainer(base, args, {**ours, **(network_args or {})}, pictures))
        return made[-1]

    yield trainer
    for each in made:
        if each.network is not None:
            each.network.close()
