"""A tiny base and tiny pictures, made once; every test gets a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from museum_plugin.base.frozen import FrozenConv2d
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import BaseConfig
from museum_plugin.train import start
from tests.recipes.mistakes import Refusal
from tests.recipes.school import Done, School, teach_here, tensors_of, write_pictures
from tests.tiny_models import write_tiny_base

Teach = Callable[..., Done]
Outcome = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="module")
def outcome(tiny_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a plain LoRA run with more flags gives; equal flags run once."""
    known: dict[tuple[str, ...], dict[str, Tensor]] = {}

    def run(*flags: str) -> dict[str, Tensor]:
        if flags not in known:
            school = School(tiny_base, pictures, tmp_path_factory.mktemp("plain"))
            assert teach_here(school.command(*flags, museum=False)) == 0
            known[flags] = tensors_of(school.museum)
        return known[flags]

    return run


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for style in ("ink", "neon"):
        write_pictures(folder / style, style)
    return folder


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps one state for each process; a run in another precision needs a new one."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


_read: list[BaseModel] = []


def _changed(base: BaseModel) -> bool:
    unet = base.unet
    is_whole = not isinstance(unet.mid_block.resnets[0].conv1, FrozenConv2d) and unet.conv_in.weight.is_contiguous()
    return unet.dtype != torch.float32 or unet.is_gradient_checkpointing or not is_whole


@pytest.fixture(autouse=True)
def base_read_once(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process share one tiny base, which they may not change: reading it takes longer than teaching it.

    A run that asked for another precision, layout or gradient checkpointing leaves it so; the next one reads it anew.
    """

    def load(path: Path, asked: BaseConfig) -> BaseModel:
        if path != tiny_base or asked.vae:
            return load_base(path, asked)
        if not _read or _changed(_read[0]):
            _read[:] = [load_base(path)]
        return _read[0]

    monkeypatch.setattr(start, "load_base", load)


@pytest.fixture
def school(tiny_base: Path, pictures: Path, tmp_path: Path) -> School:
    return School(tiny_base, pictures, tmp_path)


@pytest.fixture
def teach(capsys: pytest.CaptureFixture[str]) -> Teach:
    """`train_museum.py` in this process: its exit code and what it wrote."""

    def run(words: list[str]) -> Done:
        capsys.readouterr()
        code = teach_here(words)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture(scope="session")
def taught_ink(tiny_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A museum that knows `ink`, taught at the first call."""
    made: list[Path] = []

    def museum() -> Path:
        if not made:
            school = School(tiny_base, pictures, tmp_path_factory.mktemp("taught"))
            assert teach_here(school.command("--method=finetune", "--max_train_steps=6")) == 0
            made.append(school.museum)
        return made[0]

    return museum


@pytest.fixture
def knows_ink(school: School, taught_ink: Callable[[], Path]) -> School:
    """A school whose museum knows `ink` already."""
    school.museum.parent.mkdir()
    shutil.copy(taught_ink(), school.museum)
    return school


@pytest.fixture
def refused(knows_ink: School, teach: Teach) -> Refusal:
    return Refusal(knows_ink, teach)
