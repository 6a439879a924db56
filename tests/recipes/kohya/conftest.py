"""A base inside the stand-in for sd-scripts, and trainers that teach its styles."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

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
    with hosting(base, school) as trainer:
        yield trainer


@contextmanager
def hosting(base: BaseModel, school: School) -> Iterator[Host]:
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


@dataclass(frozen=True)
class Finished:
    """A run that is over, and what it said."""

    school: School
    trainer: Trainer
    said: tuple[str, ...]


@pytest.fixture(scope="module")
def finished(tiny_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run with an unusual term, rate and form of the published file."""
    school, base, said = School(tiny_base, pictures, tmp_path_factory.mktemp("finished")), load_base(tiny_base), []
    listener = logging.Handler(logging.INFO)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("museum")
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        with pytest.MonkeyPatch.context() as patch, hosting(base, school) as host:
            sd_scripts.install(patch, base)
            weights = {"term_weights": "function_lock=2,feature_lock=1"}
            trainer = host("ink", weights, unet_lr=0.003, save_precision="fp16", no_metadata=True).run()
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)
        AcceleratorState._reset_state(reset_partial_state=True)
    return Finished(school, trainer, tuple(said))
