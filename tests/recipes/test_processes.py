"""The script as a user starts it: a process of its own, real signals, several processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Teach
from tests.recipes.mistakes import snapshot
from tests.recipes.school import School, difference, same, start, teach_apart, tensors_of

PATIENCE = 120
"""Seconds."""


def wait_for_steps(err: Path, style: str) -> None:
    """Until the bar of a style has moved."""
    until = time.monotonic() + PATIENCE
    while not (said := err.read_text(encoding="utf-8")).count(f"{style}: ") or "denoising=" not in said:
        assert time.monotonic() < until, said
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_a_run_that_can_go_on(knows_ink: School, teach: Teach, name: str) -> None:
    number = signal.Signals[name]  # SIGHUP is not there on every system
    command = knows_ink.command("--method=finetune", "--max_train_steps=30", styles=("neon",))
    err, before = knows_ink.folder / "err.txt", snapshot(knows_ink.museum)
    twin = knows_ink.folder / "unbroken.safetensors"
    twin.write_bytes(knows_ink.museum.read_bytes())

    process = start(command, err)
    try:
        wait_for_steps(err, "neon")
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    finally:
        process.kill()

    said = err.read_text(encoding="utf-8")
    assert process.returncode == 128 + number, said
    assert "error: " not in said
    assert "Traceback" not in said
    assert "Give the same command again" in said
    assert str(knows_ink.checkpoint) in said
    assert snapshot(knows_ink.museum) == before
    assert teach(command).code == 0
    assert teach([*command, f"--museum={twin}", "--output_name=unbroken"]).code == 0
    assert same(knows_ink.numbers(), tensors_of(twin))


def test_the_script_says_what_is_wrong_and_nothing_else(school: School) -> None:
    done = teach_apart(["--dataset_config=nowhere.toml", f"--museum={school.museum}"], school.folder / "err.txt")

    assert (done.code, done.out) == (2, "")
    lines = [line for line in done.err.splitlines() if not line.startswith("no --pretrained_model")]
    assert lines == ['error: --dataset_config: no file "nowhere.toml"']


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_in_two_micro_steps(school: School, teach: Teach) -> None:
    """The same batches, with gradients averaged over processes instead of accumulated."""
    flags = ["--method=finetune", "--optimizer_type=SGD", "--max_grad_norm=0.5", "--max_train_steps=2"]
    shared = school.command(*flags, styles=("ink", "neon"))
    launcher = (
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",
    )

    done = teach_apart(shared, school.folder / "err.txt", *launcher)

    assert done.code == 0, done.err
    assert done.out.count("museum   ") == 1
    alone = school.folder / "alone.safetensors"
    assert teach([*shared, "--gradient_accumulation_steps=2", f"--museum={alone}", "--output_name=alone"]).code == 0
    assert [record.name for record in read_museum(school.museum).ledger.styles] == ["ink", "neon"]
    assert difference(school.numbers(), tensors_of(alone)) < 1e-6
    once = school.folder / "once.safetensors"
    assert teach([*shared, f"--museum={once}", "--output_name=once"]).code == 0
    assert difference(school.numbers(), tensors_of(once)) > 1e-5
