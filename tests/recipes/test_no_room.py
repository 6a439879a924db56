"""Memory that runs out: nothing is lost, what to do is said, and with --fit it is done."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from museum_plugin.museum.file import read_museum
from museum_plugin.train import loop
from museum_plugin.train.checkpoint import read_state
from museum_plugin.train.no_room import is_full
from tests.recipes.conftest import Teach
from tests.recipes.school import STEPS, School, same

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
When = Callable[[UNet2DConditionModel], bool]
RunOut = Callable[..., None]


def keeps_activations(unet: UNet2DConditionModel) -> bool:
    """In a step of training without gradient checkpointing."""
    return torch.is_grad_enabled() and not unet.is_gradient_checkpointing


@pytest.fixture
def run_out(monkeypatch: pytest.MonkeyPatch) -> RunOut:
    """Let the U-Net run out of memory from its n-th such pass on (from 1)."""
    forward = UNet2DConditionModel.forward

    def arm(when: When = keeps_activations, at: int = 1) -> None:
        passes = 0

        def full(unet: UNet2DConditionModel, *arguments: Any, **named: Any) -> Any:
            nonlocal passes
            passes += when(unet)
            if when(unet) and passes >= at:
                raise torch.OutOfMemoryError(FULL)
            return forward(unet, *arguments, **named)

        monkeypatch.setattr(UNet2DConditionModel, "forward", full)

    return arm


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The terms of each whole pass, as they come."""
    found: list[dict[str, float]] = []
    terms_of = loop.loss_terms

    def listened(*arguments: Any) -> dict[str, Tensor]:
        terms = terms_of(*arguments)
        found.append({name: term.item() for name, term in terms.items()})
        return terms

    monkeypatch.setattr(loop, "loss_terms", listened)
    return found


def another(school: School, folder: Path) -> School:
    folder.mkdir()
    return School(school.base, school.pictures, folder)


def test_what_was_learned_is_saved_and_the_next_switch_is_named(
    school: School, teach: Teach, run_out: RunOut, tmp_path: Path
) -> None:
    unbroken = another(school, tmp_path / "unbroken")
    assert teach(unbroken.command("--cache_latents", "--replay_apart")).code == 0
    run_out(at=2 * STEPS - 1)  # each step has a pass for its pictures and one for the bank

    stopped = teach(school.command("--cache_latents", "--replay_apart"))

    assert stopped.code == 9
    (line,) = stopped.errors
    assert "style 'ink': memory ran out (held: U-Net 0.00 GiB, text encoders 0.00 GiB, LoRA 0.00 GiB" in line
    assert "CUDA out of memory)" in line
    assert f"the state after step {STEPS - 1} of {STEPS} is saved in {school.checkpoint}" in line
    assert "with --gradient_checkpointing, which needs less and gives the same result; --fit does so" in line
    assert "Traceback" not in stopped.err
    assert read_state(school.checkpoint)["step"] == STEPS - 1
    assert not school.museum.exists()
    assert teach(school.command("--cache_latents", "--replay_apart", "--gradient_checkpointing")).code == 0
    assert same(school.numbers(), unbroken.numbers())


def test_with_fit_the_run_goes_on_by_itself(
    school: School,
    teach: Teach,
    run_out: RunOut,
    losses: list[dict[str, float]],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    unbroken = another(school, tmp_path / "unbroken")
    styles, flags = ("ink", "neon"), ("--cache_latents", "--replay_apart")
    assert teach(unbroken.command("--gradient_checkpointing", *flags, styles=styles)).code == 0
    expected = list(losses)
    losses.clear()
    run_out(at=2 * STEPS + 3)  # in the second style

    done = teach(school.command("--fit", *flags, styles=styles))

    assert done.code == 0
    assert losses == expected
    assert len(losses) == 2 * STEPS
    assert same(school.numbers(), unbroken.numbers())
    assert "--fit: going on with --gradient_checkpointing" in caplog.text
    assert [record.name for record in read_museum(school.museum).ledger.styles] == list(styles)
    assert not school.checkpoint.exists()


def test_fit_flips_what_keeps_the_result_and_nothing_else(
    school: School, teach: Teach, run_out: RunOut, caplog: pytest.LogCaptureFixture
) -> None:
    run_out(when=lambda unet: torch.is_grad_enabled())

    stopped = teach(school.command("--fit"))

    assert stopped.code == 9
    flipped = re.findall(r"--fit: going on with (--\w+)", caplog.text)
    assert flipped == [
        "--cache_latents", "--replay_apart", "--gradient_checkpointing", "--cpu_offload_checkpointing",
        "--blocks_to_swap", "--blocks_to_swap",
    ]  # fmt: skip
    assert "nothing was learned yet" in stopped.errors[-1]
    assert not school.checkpoint.exists()
    assert "Nothing is left that needs less and gives the same result" in stopped.errors[-1]
    assert "--optimizer_type=AdamW8bit" in stopped.errors[-1]


def test_numbers_that_are_half_moved_are_not_saved(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(loop, "limit_norms", full)

    stopped = teach(school.command("--scale_weight_norms=1"))

    assert stopped.code == 9
    assert "nothing of it was kept" in stopped.errors[0]
    assert not school.checkpoint.exists()


def test_no_room_before_the_first_step(school: School, teach: Teach, run_out: RunOut) -> None:
    run_out(when=lambda unet: not torch.is_grad_enabled())

    stopped = teach(school.command("--cache_latents", "--replay_apart"))

    assert stopped.code == 9
    assert "memory ran out while style 'ink' was prepared (CUDA out of memory)" in stopped.errors[0]
    assert "what was there before is unchanged" in stopped.errors[0]


def test_other_errors_are_no_lack_of_room() -> None:
    assert is_full(torch.OutOfMemoryError(FULL))
    assert is_full(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not is_full(RuntimeError("shapes do not agree"))
    assert not is_full(ValueError(FULL))
