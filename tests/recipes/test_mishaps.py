"""What goes wrong while a run lasts: bad numbers, signals in a bad moment, others at the same museum."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from museum_plugin.config.schema import RunConfig
from museum_plugin.methods import material
from museum_plugin.museum.file import read_museum
from museum_plugin.museum.museum import Museum
from museum_plugin.train import loop, start
from museum_plugin.train.museum_file import museum_lock
from tests.recipes.conftest import Teach
from tests.recipes.mistakes import snapshot
from tests.recipes.school import School

Spoil = Callable[[dict[str, Tensor], Museum], None]
Weights = list[dict[str, Tensor]]


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil, set[int]], Weights]:
    """Spoil the terms of chosen passes (from 1); the weights at the beginning of every pass."""

    def arm(spoil: Spoil, passes: set[int]) -> Weights:
        seen: Weights = []
        loss_terms = loop.loss_terms

        def spoiling(museum: Museum, *arguments: Any) -> dict[str, Tensor]:
            seen.append({name: tensor.clone() for name, tensor in museum.network.tensors().items()})
            found = loss_terms(museum, *arguments)
            if len(seen) in passes:
                spoil(found, museum)
            return found

        monkeypatch.setattr(loop, "loss_terms", spoiling)
        return seen

    return arm


def bad_loss(found: dict[str, Tensor], museum: Museum) -> None:
    found["denoising"] = found["denoising"] * torch.nan


def bad_gradient(found: dict[str, Tensor], museum: Museum) -> None:
    """A term whose value is 0 and whose gradient is not a number."""
    layer = next(iter(museum.network.layers.values()))
    found["odd"] = (layer.up * 0).sum().sqrt()


def moved(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("spoil", "named"), [(bad_loss, "the loss is not finite (denoising)"), (bad_gradient, "the gradient is not finite")]
)
def test_bad_numbers_stop_the_run_before_they_reach_the_weights(
    knows_ink: School, teach: Teach, spoilt: Callable[[Spoil, set[int]], Weights], spoil: Spoil, named: str
) -> None:
    before = snapshot(knows_ink.museum)
    spoilt(spoil, {2})

    done = teach(knows_ink.command("--method=finetune", styles=("neon",)))

    assert (done.code, len(done.errors)) == (6, 1)
    for text in (named, "style 'neon'", "step 2", ".png"):
        assert text in done.errors[0]
    assert snapshot(knows_ink.museum) == before


@pytest.mark.parametrize("spoil", [bad_loss, bad_gradient])
def test_so_many_bad_steps_in_a_row_are_skipped(
    school: School,
    teach: Teach,
    spoilt: Callable[[Spoil, set[int]], Weights],
    caplog: pytest.LogCaptureFixture,
    spoil: Spoil,
) -> None:
    weights = spoilt(spoil, {1, 2, 4})

    done = teach(school.command("--method=finetune", "--skip_nonfinite=2", "--max_train_steps=6"))

    assert done.code == 0, done.err
    assert [moved(*pair) for pair in zip(weights, weights[1:], strict=False)] == [False, False, True, False, True]
    assert caplog.text.count("in a row, at most 2") == 3
    assert all(bool(tensor.isfinite().all()) for tensor in read_museum(school.museum).lora.values())


def test_one_bad_step_too_many_stops_the_run(
    school: School, teach: Teach, spoilt: Callable[[Spoil, set[int]], Weights]
) -> None:
    spoilt(bad_loss, {1, 2})
    assert teach(school.command("--method=finetune", "--skip_nonfinite=1")).code == 6
    assert not school.museum.exists()


def test_skipped_steps_count_on_when_a_run_goes_on(
    school: School, teach: Teach, spoilt: Callable[[Spoil, set[int]], Weights], caplog: pytest.LogCaptureFixture
) -> None:
    command = school.command("--method=finetune", "--skip_nonfinite=2", "--max_train_steps=6")

    def bad_and_stopped(found: dict[str, Tensor], museum: Museum) -> None:
        bad_loss(found, museum)
        signal.raise_signal(signal.SIGINT)

    spoilt(bad_and_stopped, {1})
    assert teach(command).code == 130
    spoilt(bad_loss, {1, 2})
    done = teach(command)

    assert done.code == 6, "the one before the stop is the first of three in a row"
    assert "step 3" in done.errors[0]
    assert [text[-31:] for text in caplog.messages if "in a row" in text] == [
        f"kipped ({n} in a row, at most 2)." for n in (1, 2)
    ]


def test_a_file_in_between_that_cannot_be_removed_ends_no_run(
    school: School, teach: Teach, spoilt: Callable[[Spoil, set[int]], Weights], caplog: pytest.LogCaptureFixture
) -> None:
    first = school.museum.with_name("mine-step00000001.safetensors")

    def folder_in_its_place(found: dict[str, Tensor], museum: Museum) -> None:
        first.unlink()
        first.mkdir()

    spoilt(folder_in_its_place, {3})

    done = teach(
        school.command("--method=finetune", "--save_every_n_steps=1", "--save_last_n_steps=1", "--max_train_steps=5")
    )

    assert done.code == 0, done.err
    assert [text for text in caplog.messages if "cannot be removed" in text and str(first) in text]
    assert caplog.text.count("cannot be removed") == 1
    assert not first.with_name("mine-step00000002.safetensors").exists()


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_in_which_dropout_left_out_every_layer_moves_nothing(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch, scaled: bool
) -> None:
    """Also where gradients are scaled, as with fp16."""
    make_accelerator = loop.make_accelerator

    def with_scaler(run: RunConfig) -> Accelerator:
        accelerator = make_accelerator(run)
        accelerator.scaler = torch.amp.GradScaler("cpu") if scaled else None
        return accelerator

    monkeypatch.setattr(loop, "make_accelerator", with_scaler)

    done = teach(school.command("--network_args", "module_dropout=0.9999999", "--save_every_n_steps=1", museum=False))

    assert done.code == 0, done.err
    one, last = (
        read_museum(school.museum.with_name(name)).lora
        for name in ("mine-step00000001.safetensors", "mine.safetensors")
    )
    assert not moved(one, last)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_bank_is_drawn_takes_effect_right_there(
    knows_ink: School, teach: Teach, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = snapshot(knows_ink.museum)
    monkeypatch.setattr(loop, "teach_style", lambda *arguments: pytest.fail("taught"))
    fill_bank = material.fill_bank

    def interrupted(museum: Museum, plan: Any, progress: Callable[[int], object]) -> Any:
        def told(drawn: int) -> None:
            signal.raise_signal(signal.Signals[name])
            pytest.fail("goes on")

        return fill_bank(museum, plan, told)

    monkeypatch.setattr(material, "fill_bank", interrupted)

    done = teach(knows_ink.command(styles=("neon",)))

    assert done.code == 128 + signal.Signals[name]
    assert "stopped while style 'neon' was prepared" in done.err
    assert "Give the same command again" in done.err
    assert "error: " not in done.err
    assert "Traceback" not in done.err
    assert snapshot(knows_ink.museum) == before


def test_a_second_run_on_the_same_museum_is_refused_at_once(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "load_base", lambda path: pytest.fail("read"))
    school.museum.parent.mkdir()
    with museum_lock(school.museum):
        done = teach(school.command())
    assert (done.code, len(done.errors)) == (5, 1)
    assert "another run is teaching this museum" in done.errors[0]


def test_what_another_program_wrote_meanwhile_is_not_lost(
    knows_ink: School,
    teach: Teach,
    spoilt: Callable[[Spoil, set[int]], Weights],
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoilt(lambda found, museum: Path(knows_ink.museum).write_bytes(b"another program's") and None, {1})

    done = teach(knows_ink.command("--method=finetune", styles=("neon",)))

    beside = knows_ink.museum.with_name("mine.conflict-1.safetensors")
    assert done.code == 0, done.err
    assert knows_ink.museum.read_bytes() == b"another program's"
    assert [record.name for record in read_museum(beside).ledger.styles] == ["ink", "neon"]
    assert f"museum   {beside}" in done.out
    assert "changed by another program" in caplog.text
