"""A run that stops goes on as if it had not: bit for bit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from museum_plugin.museum.file import read_museum
from museum_plugin.train import loop
from tests.recipes.conftest import Teach
from tests.recipes.school import STEPS, School, same, tensors_of, write_dataset, write_pictures

Interrupt = Callable[[signal.Signals, int], None]
MANY = ("--text_encoder_lr=0.003", "--term_weights", "weight_regularization=1", "style_distillation=0.1")
"""Flags that bring in much of what a run remembers."""
NOISY = (
    "--noise_offset=0.1",
    "--noise_offset_random_strength",
    "--adaptive_noise_scale=0.1",
    "--multires_noise_iterations=3",
    "--ip_noise_gamma=0.1",
    "--ip_noise_gamma_random_strength",
    "--loss_type=huber",
)
"""Flags that draw more random numbers in every step."""


@pytest.fixture
def interrupt_in(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Send this process a signal while it is in its n-th step (from 1), in whatever style that is."""

    def arm(number: signal.Signals, step: int) -> None:
        student_pass, passes = loop.student_pass, 0

        def signalled(*arguments: Any) -> Any:
            nonlocal passes
            passes += 1
            if passes == step:
                signal.raise_signal(number)
            return student_pass(*arguments)

        monkeypatch.setattr(loop, "student_pass", signalled)

    return arm


@pytest.mark.parametrize("method", ["museum", "paper"])
def test_two_commands_equal_one(school: School, teach: Teach, tmp_path: Path, method: str) -> None:
    flags = [f"--method={method}", "--text_encoder_lr=0.003"]
    assert teach(school.command(*flags, styles=("ink",))).code == 0
    assert teach(school.command(*flags, styles=("neon",))).code == 0
    at_once = School(school.base, school.pictures, tmp_path / "at once")
    at_once.folder.mkdir()
    assert teach(at_once.command(*flags, styles=("ink", "neon"))).code == 0

    assert same(school.numbers(), at_once.numbers())
    one, other = (read_museum(s.museum).ledger for s in (school, at_once))
    assert one.styles[1].scores == other.styles[1].scores
    assert one.styles[1].extra == other.styles[1].extra


@pytest.mark.parametrize(
    ("number", "step", "flags"),
    [
        (signal.SIGINT, 1, ()),
        (signal.SIGTERM, STEPS + 2, MANY),
        (
            signal.SIGINT,
            2,
            ("--method=paper", "--optimizer_type=AdamW8bit", "--lr_scheduler=linear", "--lr_warmup_steps=2"),
        ),
        (signal.SIGINT, 2, NOISY),
    ],
    ids=["first step", "second style", "8-bit optimizer", "noise"],
)
def test_an_interrupted_run_equals_an_unbroken_one(
    school: School,
    teach: Teach,
    interrupt_in: Interrupt,
    tmp_path: Path,
    number: signal.Signals,
    step: int,
    flags: tuple[str],
) -> None:
    unbroken = School(school.base, school.pictures, tmp_path / "unbroken")
    unbroken.folder.mkdir()
    styles = ("ink", "neon") if step > STEPS else ("ink",)
    assert teach(unbroken.command(*flags, styles=styles)).code == 0
    command = school.command(*flags, styles=styles)
    interrupt_in(number, step)

    stopped = teach(command)

    assert stopped.code == 128 + number
    assert "error: " not in stopped.err
    assert "Give the same command again" in stopped.err
    assert str(school.checkpoint) in stopped.err
    assert f"step {(step - 1) % STEPS + 1} of {STEPS} of {'ink' if step <= STEPS else 'neon'}" in stopped.err
    assert school.museum.exists() is (step > STEPS)
    assert teach(command).code == 0
    assert same(school.numbers(), unbroken.numbers())
    assert not school.checkpoint.exists()


def test_a_plain_lora_goes_on_too(school: School, teach: Teach, interrupt_in: Interrupt) -> None:
    def command(folder: str) -> list[str]:
        return school.command(f"--output_dir={school.folder / folder}", "--flip_aug", "--shuffle_caption", museum=False)

    assert teach(command("unbroken")).code == 0
    interrupt_in(signal.SIGINT, 2)
    assert teach(command("broken")).code == 130

    assert teach(command("broken")).code == 0
    one, other = (tensors_of(school.folder / name / "mine.safetensors") for name in ("broken", "unbroken"))
    assert same(one, other)


def test_asked_to_stop_in_the_last_step_finishes_the_style_and_stops(
    school: School, teach: Teach, interrupt_in: Interrupt
) -> None:
    command = school.command("--method=finetune", styles=("ink", "neon"))
    interrupt_in(signal.SIGINT, STEPS)

    stopped = teach(command)

    assert stopped.code == 130
    assert "before style 'neon'" in stopped.err
    assert [record.name for record in read_museum(school.museum).ledger.styles] == ["ink"]
    assert teach(command).code == 0
    assert [record.name for record in read_museum(school.museum).ledger.styles] == ["ink", "neon"]


_kept: dict[Path, bytes] = {}


@pytest.fixture
def unfinished(school: School, teach: Teach, interrupt_in: Interrupt) -> School:
    """A school whose run was interrupted in its second step; made once, then copied."""
    if school.base not in _kept:
        interrupt_in(signal.SIGINT, 2)
        assert teach(school.command("--method=finetune")).code == 130
        _kept[school.base] = school.checkpoint.read_bytes()
    school.checkpoint.parent.mkdir(exist_ok=True)
    school.checkpoint.write_bytes(_kept[school.base])
    return school


@pytest.mark.parametrize(
    ("flags", "styles", "named"),
    [
        (["--learning_rate=0.02"], ("ink",), ["learning_rate was 0.01, now 0.02"]),
        (["--seed=8"], ("ink",), ["seed was 0, now 8"]),
        (["--train_batch_size=3"], ("ink",), ["train_batch_size was 2, now 3"]),
        ([f"--max_train_steps={STEPS + 1}"], ("ink",), ["max_train_steps was 3, now 4"]),
        ([], ("neon",), ["style 'ink' was not finished"]),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    unfinished: School, teach: Teach, flags: list[str], styles: tuple[str], named: list[str]
) -> None:
    before = unfinished.checkpoint.read_bytes()

    done = teach(unfinished.command("--method=finetune", *flags, styles=styles))

    assert done.code == 2
    assert len(done.errors) <= 2
    for text in (str(unfinished.checkpoint), "remove the file", *named):
        assert text in done.err
    assert unfinished.checkpoint.read_bytes() == before


def test_a_checkpoint_of_changed_pictures_is_refused(unfinished: School, teach: Teach, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "other", "ink", count=3)
    dataset = write_dataset(tmp_path / "other.toml", {"ink": folder})

    done = teach(unfinished.command("--method=finetune", f"--dataset_config={dataset}"))

    assert done.code == 2
    assert "the pictures changed" in done.err


def test_flags_that_are_no_part_of_the_result_may_change(unfinished: School, teach: Teach) -> None:
    dataset = unfinished.dataset("ink", "neon")  # one more style after the one that was broken off

    done = teach(
        unfinished.command("--method=finetune", "--sample_steps=2", "--cache_latents", f"--dataset_config={dataset}")
    )

    assert done.code == 0
    assert [record.name for record in read_museum(unfinished.museum).ledger.styles] == ["ink", "neon"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _scribble(path: Path) -> None:
    path.write_bytes(b"\x93\x00scribble" * 300)


def _strip(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    del state["lora"]
    torch.save(state, path)


def _shrink(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["slot"] = []
    torch.save(state, path)


@pytest.mark.parametrize("damage", [_cut, _scribble, _strip, _shrink, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_is_refused(unfinished: School, teach: Teach, damage: Callable[[Path], object]) -> None:
    damage(unfinished.checkpoint)

    done = teach(unfinished.command("--method=finetune"))

    assert (done.code, len(done.errors)) == (2, 1)
    assert str(unfinished.checkpoint) in done.errors[0]
    assert "damaged; remove it" in done.errors[0]
    assert not unfinished.museum.exists()


def test_a_checkpoint_left_behind_by_a_finished_style_is_no_hindrance(unfinished: School, teach: Teach) -> None:
    """As after a crash between writing the museum and removing the checkpoint."""
    left_behind = unfinished.checkpoint.read_bytes()
    assert teach(unfinished.command("--method=finetune")).code == 0
    unfinished.checkpoint.write_bytes(left_behind)

    assert teach(unfinished.command("--method=finetune", styles=("neon",))).code == 0
    assert not unfinished.checkpoint.exists()


def test_a_museum_that_a_run_had_begun_keeps_its_id(unfinished: School, teach: Teach) -> None:
    """It decides which slot words are taken, whatever has come to lie beside the museum since."""
    state = torch.load(unfinished.checkpoint, weights_only=True)
    assert len(state["museum_id"]) == 32
    torch.save({**state, "museum_id": "f" * 32}, unfinished.checkpoint)

    assert teach(unfinished.command("--method=finetune")).code == 0

    assert read_museum(unfinished.museum).ledger.museum_id == "f" * 32
