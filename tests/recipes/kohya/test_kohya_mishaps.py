"""What the network module refuses, and what it never writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from museum_plugin.judge.retention import Verdict
from museum_plugin.museum.file import read_ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.train import guest
from tests.recipes.mistakes import snapshot
from tests.recipes.school import School
from tests.recipes.sd_scripts import Host


def test_a_loss_that_is_no_number_ends_the_run_and_nothing_is_written(
    host: Host, school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = host("ink")
    trainer.spoil = lambda loss: loss * float("nan") if len(trainer.losses) == 1 else loss
    with pytest.raises(SystemExit) as stop:
        trainer.run()
    assert stop.value.code == 6
    assert "error: style 'ink': the trainer's own loss is not finite." in capsys.readouterr().err
    assert not school.museum.exists()
    assert trainer.network.lora.layers
    assert all(bool(torch.isfinite(p).all()) for p in trainer.network.parameters())


def test_a_gradient_that_is_no_number_ends_the_run(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = host("ink")
    trainer.spoil = lambda loss: (loss - loss.detach()).sqrt() + 1  # a finite value with an infinite slope
    with pytest.raises(SystemExit) as stop:
        trainer.run()
    assert stop.value.code == 6
    assert "the gradient is not finite (" in capsys.readouterr().err


@pytest.mark.usefixtures("knows_ink")
def test_a_term_that_is_no_number_ends_the_run(host: Host, capsys: pytest.CaptureFixture[str], school: School) -> None:
    with pytest.raises(SystemExit):
        host("neon", {"term_weights": "function_lock=1e308"}).run()
    assert "function_lock is not finite" in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_never_written(host: Host, school: School) -> None:
    trainer = host("ink").set_up()
    with torch.no_grad():
        trainer.network.slot[0].fill_(float("nan"))
    with pytest.raises(SystemExit) as stop:
        trainer.network.save_weights(str(school.folder / "host" / "ink.safetensors"), None, {})
    assert stop.value.code == 6
    assert not school.museum.exists()
    assert not list((school.folder / "host").glob("*.safetensors"))


@pytest.mark.usefixtures("knows_ink")
def test_a_museum_that_falls_short_of_the_gate_does_not_replace_the_one_before(
    host: Host, school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(school.museum)
    with pytest.raises(SystemExit) as stop:
        host("neon", {"gate": "on", "gate_learned": "1"}).run()
    assert stop.value.code == 8
    assert snapshot(school.museum) == before
    beside = school.museum.with_name("mine.refused-1.safetensors")
    assert [record.name for record in read_ledger(beside).styles] == ["ink", "neon"]
    assert str(beside) in capsys.readouterr().err


def test_a_style_that_could_not_be_judged_is_saved_and_the_next_one_is_taught_on(
    host: Host, school: School, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(museum: Museum) -> Verdict:
        raise RuntimeError("no memory is left")

    with monkeypatch.context() as patch:
        patch.setattr(guest, "judge_newest", fails)
        host("ink").run().network.close()
    assert "could not be judged (no memory is left)" in caplog.text
    assert read_ledger(school.museum).styles[0].scores == {}

    host("neon").run()
    (file,) = (school.folder / "host").glob("*-02-neon-matrix.json")
    matrix = json.loads(file.read_text())["matrix"]
    assert matrix[0] == [None]
    assert all(isinstance(score, float) for score in matrix[1])


REFUSED: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "typo": ({"musuem": "x"}, {}, 'did you mean "museum"?'),
    "type": ({"slot_lr": "fast"}, {}, "network_args: slot_lr: found 'fast', allowed: a number"),
    "gate": ({"gate_kept": "2"}, {}, "gate_kept: found 2.0, allowed: 0 to 1"),
    "our loop": ({"judge_every": "5"}, {}, "judge_every: cannot be used where sd-scripts has the loop"),
    "export": ({"export_for": "comfy"}, {}, 'did you mean "comfyui"?'),
    "no museum": ({"museum": ""}, {}, 'museum is missing; give it as "museum='),
    "no style": ({"style": ""}, {}, 'style is missing; give it as "style='),
    "method": ({"method": "magic"}, {}, "method: found 'magic', allowed: finetune, paper, museum"),
    "rank blocks": ({"method": "olora"}, {}, "method: found 'olora', which gives each style new parameters"),
    "term": ({"term_weights": "lock=1"}, {}, "term_weights: found 'lock', allowed:"),
    "trigger": ({"trigger": "house"}, {}, "trigger 'house' is an ordinary word"),
    "dropout": ({"dropout": "0.1"}, {}, "network_args: found 'dropout'"),
    "full fp16": ({}, {"full_fp16": True}, "use mixed_precision"),
    "fp8": ({}, {"fp8_base": True}, "could not draw with it"),
    "deepspeed": ({}, {"deepspeed": True}, "deepspeed: cannot go with"),
    "dataset class": ({}, {"dataset_class": "my.Set"}, "use dataset_config"),
    "file type": ({}, {"save_model_as": "ckpt"}, "save_model_as: found 'ckpt', allowed: safetensors"),
    "no rates": ({"slot_lr": "0"}, {"learning_rate": 0.0}, "nothing to train"),
}


@pytest.mark.parametrize(("network_args", "changes", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line(
    host: Host, capsys: pytest.CaptureFixture[str], network_args: dict[str, str], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(SystemExit):
        host("ink", network_args, **changes).set_up()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert told in line


@pytest.mark.usefixtures("knows_ink")
def test_a_style_that_is_known_is_not_taught_again(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        host("ink").set_up()
    assert "style: 'ink' is in" in capsys.readouterr().err


def test_two_trainers_cannot_teach_one_museum(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host("ink").set_up()
    with pytest.raises(SystemExit):
        host("neon").set_up()
    assert "another run is teaching this museum" in capsys.readouterr().err
