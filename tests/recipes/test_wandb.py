"""Logs at wandb, by the real package without a network: what a run writes there, and what it never writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import Teach
from tests.recipes.school import School

wandb = pytest.importorskip("wandb")
KEY = "0123456789" * 4
BLOCK = 32768


def packets(file: Path) -> Iterator[bytes]:
    """The records of a run's file: a header of 7 bytes, then blocks as LevelDB's log has them."""
    data, place, begun = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if kind == 0:  # the rest of a block is empty
            place = (place // BLOCK + 1) * BLOCK
            continue
        begun += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield begun
            begun = b""
        if BLOCK - place % BLOCK < 7:
            place = (place // BLOCK + 1) * BLOCK


def records(folder: Path) -> list[Any]:
    """What the one run in a folder holds."""
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # the file is written by another process
    (file,) = folder.rglob("*.wandb")
    return [Record.FromString(packet) for packet in packets(file)]


def history(found: list[Any]) -> list[dict[str, Any]]:
    """The rows of a run, in order."""
    rows = [record.history for record in found if record.WhichOneof("record_type") == "history"]
    return [{"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in row.item} for row in rows]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """wandb reads its surroundings once in a process."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield
    wandb.teardown()


def test_a_run_of_two_styles_with_previews(school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch) -> None:
    logs, prompts = school.folder / "logs", school.folder / "prompts.txt"
    prompts.write_text("a red cat\n", encoding="utf-8")
    (school.folder / "logs.toml").write_text("[wandb]\ntags = ['inks']\n", encoding="utf-8")
    flags = ["--log_with=wandb", f"--logging_dir={logs}", "--log_tracker_name=museums", "--wandb_run_name=first"]
    flags += ["--log_config", f"--log_tracker_config={school.folder / 'logs.toml'}", f"--wandb_api_key={KEY}"]
    flags += ["--max_train_steps=2", "--sample_every_n_steps=2", f"--sample_prompts={prompts}"]
    command = school.command("--method=finetune", *flags, styles=("ink", "neon"))
    monkeypatch.setattr(sys, "argv", ["train_museum.py", *command])

    assert teach(command).code == 0

    assert sys.argv[1:] == command
    found = records(logs)
    (run,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name, list(run.tags)) == ("museums", "first", ["inks"])
    rows = history(found)
    for style in ("ink", "neon"):
        told, shown = (row for row in rows if any(name.startswith(f"{style}/") for name in row))
        assert 0.1 < told[f"{style}/denoising"] < 10
        assert told["global_step"] == 0, "the second style begins anew"
        assert (shown["global_step"], shown[f"{style}/sample_0/caption"]) == (2, "a red cat")
    pictures = [path.read_bytes() for path in logs.rglob("media/images/**/*.png")]
    assert len(pictures) == 2
    config = {i.key: i.value_json for record in found for i in record.config.update}
    assert config["network_dim"] == "2"
    for path in (path for path in school.folder.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


def test_both_logs_are_written_where_all_are_asked_for(school: School, teach: Teach) -> None:
    logs = school.folder / "logs"

    assert teach(school.command("--log_with=all", f"--logging_dir={logs}", museum=False)).code == 0

    assert list(logs.rglob("events.out.tfevents.*"))
    assert {"denoising", "global_step"} <= {name.rpartition("/")[2] for name in history(records(logs))[0]}


def test_without_key_and_network_the_run_is_refused_in_words(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "")

    done = teach(school.command("--log_with=wandb", museum=False))

    assert done.code == 2
    (told,) = done.errors
    assert told.startswith("error: log_with: wandb: ")
    assert "WANDB_MODE=offline" in told
