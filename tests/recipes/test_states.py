"""Whole states: a run goes on from each of them bit for bit, or is told what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from museum_plugin.cli.check_report import examine
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.history import history
from museum_plugin.train import loop, start
from tests.recipes.conftest import Teach
from tests.recipes.school import School, same, teach_here, tensors_of, write_dataset, write_pictures

pytestmark = pytest.mark.slow
FLAGS = (
    "--max_train_epochs=2",  # of two batches
    "--save_state",
    "--save_every_n_steps=1",
    "--save_every_n_epochs=1",
    "--text_encoder_lr=0.003",
    "--flip_aug",
    "--shuffle_caption",
    "--lr_warmup_steps=50%",
)
STYLES = ("ink", "neon")
Losses = list[tuple[float, ...]]


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    """The terms of every pass from here on."""
    return recorded_by(monkeypatch)


def recorded_by(monkeypatch: pytest.MonkeyPatch) -> Losses:
    found: Losses = []
    loss_terms = loop.loss_terms

    def kept(*arguments: Any) -> Any:
        terms = loss_terms(*arguments)
        found.append(tuple(value.item() for value in terms.values()))
        return terms

    monkeypatch.setattr(loop, "loss_terms", kept)
    return found


@dataclass(frozen=True)
class Unbroken(School):
    """A run of two styles, with all its states."""

    losses: tuple[tuple[float, ...], ...]


@pytest.fixture(scope="module")
def unbroken(tiny_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    school = School(tiny_base, pictures, tmp_path_factory.mktemp("unbroken"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = recorded_by(monkeypatch)
        assert teach_here(school.command(*FLAGS, styles=STYLES)) == 0
    return Unbroken(school.base, school.pictures, school.folder, tuple(found))


def state_of(school: School, name: str) -> Path:
    return school.museum.parent / f"mine-{name}-state"


def checked(command: list[str]) -> list[str]:
    """The problems that `check` finds."""
    return list(examine(command).problems)


def test_states_and_files_lie_beside_each_other(unbroken: School) -> None:
    names = {path.name for path in unbroken.museum.parent.iterdir()}
    for style in STYLES:
        between = {f"mine-{style}-step0000000{step}" for step in (1, 2, 3)} | {f"mine-{style}-000001"}
        assert {f"{name}.safetensors" for name in between} <= names
        assert {f"{name}-state" for name in between | {f"mine-{style}"}} <= names
    assert [record.steps for record in read_museum(unbroken.museum).ledger.styles] == [4, 4]


@pytest.mark.parametrize(
    ("name", "left"),
    [("ink-step00000001", 7), ("ink-000001", 6), ("neon-step00000003", 1), ("neon", 0)],
)
def test_a_run_goes_on_exactly(
    unbroken: Unbroken, school: School, teach: Teach, losses: Losses, name: str, left: int
) -> None:
    """Into another folder and another museum: the state stands on its own."""
    command = school.command(*FLAGS, f"--resume={state_of(unbroken, name)}", styles=STYLES)
    assert checked(command) == []

    done = teach(command)

    assert done.code == 0, done.err
    assert len(unbroken.losses) == 8
    assert losses == list(unbroken.losses[8 - left :])
    assert same(school.numbers(), unbroken.numbers())
    if left:  # else no step was left to save a state after
        ends = [torch.load(state_of(s, "neon"), weights_only=True) for s in (school, unbroken)]
        assert ends[0]["smooth"] == ends[1]["smooth"]
    one, other = (read_museum(s.museum).ledger.styles for s in (school, unbroken))
    assert [record.scores for record in one] == [record.scores for record in other]


def test_a_plain_lora_goes_on_exactly(school: School, teach: Teach) -> None:
    def command(folder: str, *flags: str) -> list[str]:
        return school.command(f"--output_dir={school.folder / folder}", *FLAGS, *flags, museum=False)

    assert teach(command("unbroken")).code == 0
    state = school.folder / "unbroken" / "mine-step00000002-state"
    assert examine(command("other", f"--resume={state}")).resumes == f"LoRA after step 2, from {state}"

    assert teach(command("other", f"--resume={state}")).code == 0

    one, other = (tensors_of(school.folder / name / "mine.safetensors") for name in ("unbroken", "other"))
    assert same(one, other)


def test_the_same_command_goes_on_behind_its_state(unbroken: School, school: School, teach: Teach) -> None:
    """A run that was resumed and broken off goes on from where it was broken off."""
    school.checkpoint.parent.mkdir()
    shutil.copy(state_of(unbroken, "ink-step00000003"), school.checkpoint)
    state = state_of(unbroken, "ink-step00000001")
    command = school.command(*FLAGS, f"--resume={state}", styles=("ink",))
    assert examine(command).resumes == f"ink after step 3, from {school.checkpoint}"

    done = teach(command)

    assert done.code == 0
    assert not (school.museum.parent / "mine-step00000003.safetensors").exists()
    assert (school.museum.parent / "mine-state").exists()


def _other_pictures(school: School) -> list[str]:
    folder = write_pictures(school.folder / "others", "ink", count=3)
    return [f"--dataset_config={write_dataset(school.folder / 'others.toml', {'ink': folder})}"]


def _taught_museum(unbroken: School, school: School) -> list[str]:
    school.museum.parent.mkdir()
    shutil.copy(unbroken.museum, school.museum)
    return []


def _museum_of_another_seed(unbroken: School, school: School) -> list[str]:
    school.museum.parent.mkdir()
    first = history(unbroken.museum)[0].path
    shutil.copy(first, school.museum)
    return ["--seed=0"]


@pytest.mark.parametrize(
    ("name", "styles", "prepare", "named"),
    [
        ("ink", ("ink",), lambda u, s: ["--learning_rate=0.02"], ["learning_rate was 0.01, now 0.02"]),
        ("ink", ("ink",), lambda u, s: ["--max_train_epochs=3"], ["max_train_epochs was 2, now 3"]),
        ("ink", ("ink",), lambda u, s: _other_pictures(s), ["the pictures changed", "was: 4 pictures", "now: 3 pict"]),
        ("neon", ("neon",), lambda u, s: ["--museum="], ["a state of neon", "allowed in this run: a plain LoRA"]),
        ("neon", ("ink",), lambda u, s: [], ["a state of neon", "every style is taught"]),
        ("ink", STYLES, _taught_museum, ["'ink' of this state is finished in", "give --museum a new path"]),
        ("ink", ("neon",), _museum_of_another_seed, ["'ink' of this state is finished"]),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    unbroken: School,
    school: School,
    teach: Teach,
    name: str,
    styles: tuple[str, ...],
    prepare: Callable[[School, School], list[str]],
    named: list[str],
) -> None:
    more = prepare(unbroken, school)
    plain = "--museum=" in more
    flags = [flag for flag in more if flag != "--museum="]
    command = school.command(*FLAGS, f"--resume={state_of(unbroken, name)}", *flags, styles=styles, museum=not plain)

    done = teach(command)

    assert done.code == 2, done.err
    assert len(done.errors) == 1
    for text in named:
        assert text in done.errors[0]
    assert checked(command) == [done.errors[0].removeprefix("error: ")], "check says the same beforehand"


def test_a_state_of_another_museum_is_refused(unbroken: School, school: School, teach: Teach) -> None:
    assert teach(school.command("--method=finetune", "--text_encoder_lr=0.003", styles=("ink",))).code == 0

    done = teach(school.command(*FLAGS, f"--resume={state_of(unbroken, 'neon')}", styles=("neon",)))

    assert done.code == 2
    assert "the museum changed (both: ink)" in done.err


def test_what_is_no_state_is_refused_before_the_model_is_read(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "load_base", lambda path: pytest.fail("read"))
    broken = school.folder / "broken-state"
    broken.write_bytes(b"no state")
    for path, named in ((broken, "damaged"), (school.folder, "found a folder"), (school.folder / "x", "no such file")):
        done = teach(school.command(f"--resume={path}"))
        assert (done.code, len(done.errors)) == (2, 1)
        assert named in done.errors[0]
