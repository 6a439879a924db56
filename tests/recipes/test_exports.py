"""A run ends with its museum published, lightly unless told otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from museum_plugin.export.plain_words import PlainPlan, learn_plain_words
from museum_plugin.museum.file import read_museum
from tests.recipes.school import TRIGGERS, Done, School

BRIEF = PlainPlan(steps=2, prompts=2)
Teach = Callable[..., Done]


def exports(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if (path / "museum-export.json").exists())


def test_side_cars_and_texts_are_written_by_default_and_anew_with_each_style(school: School, teach: Teach) -> None:
    folder = school.museum.parent
    for styles in (("ink",), ("ink", "neon")):
        done = teach(school.command("--method=finetune", styles=styles))
        assert done.code == 0
        assert f"export   {folder / 'mine-sidecars'}" in done.out.splitlines()
        assert exports(folder) == ["mine-sidecars"]
        written = sorted(path.name for path in (folder / "mine-sidecars" / "embeddings").iterdir())
        assert written == sorted(f"{TRIGGERS[style]}.safetensors" for style in styles)
    notes = json.loads((folder / "mine-sidecars" / "mine.json").read_text(encoding="utf-8"))["notes"]
    assert notes.splitlines() == [f"{style}: {TRIGGERS[style]} style" for style in ("ink", "neon")]
    grid = (folder / "mine-02-neon-grid.png").read_bytes()
    assert (folder / "mine-sidecars" / "mine.png").read_bytes() == grid
    assert not (folder / "mine-sidecars" / "mine.safetensors").exists()


def test_what_is_asked_for_is_written_as_asked(school: School, teach: Teach) -> None:
    flags = ("--export_for", "a1111", "comfyui", "--save_precision=fp16", "--no_metadata")
    assert teach(school.command("--method=finetune", *flags)).code == 0
    folder = school.museum.parent
    assert exports(folder) == ["mine-a1111", "mine-comfyui"]
    tensors = load_file(folder / "mine-a1111" / "mine.safetensors")
    slot = tensors[f"bundle_emb.{TRIGGERS['ink']}.dora_scale"]
    assert torch.equal(slot, read_museum(school.museum).slots["ink"]["clip_l"].half())
    assert not [name for name in tensors if "slots" in name]


def test_plain_words_are_learned_at_the_end_of_a_run(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("museum_plugin.train.published.learn_plain_words", partial(learn_plain_words, plan=BRIEF))
    assert teach(school.command("--method=finetune", "--export_for=plain")).code == 0
    folder = school.museum.parent
    assert exports(folder) == ["mine-plain"]
    tensors = load_file(folder / "mine-plain" / "mine.safetensors")
    assert {name.partition("_text_model")[0] for name in set(tensors) - set(read_museum(school.museum).lora)} == {
        "lora_te"
    }


def test_none_and_a_plain_lora_write_nothing(school: School, teach: Teach) -> None:
    assert teach(school.command("--method=finetune", "--export_for=none")).code == 0
    plain = teach(school.command(museum=False))
    assert plain.code == 0
    assert exports(school.museum.parent) == []
    assert "export " not in plain.out


def test_what_cannot_be_published_costs_nothing_but_a_line(
    school: School, teach: Teach, caplog: pytest.LogCaptureFixture
) -> None:
    taken = school.museum.parent / "mine-sidecars" / "mine.json"
    taken.parent.mkdir(parents=True)
    taken.write_text("hers")
    done = teach(school.command("--method=finetune"))
    assert done.code == 0
    assert taken.read_text() == "hers"
    assert read_museum(school.museum).ledger.styles[0].name == "ink"
    assert "not written by this command" in caplog.text
    told = f"python -m museum_plugin export {school.museum} --for sidecars --output_dir {school.museum.parent}"
    assert told in caplog.text


def test_an_unknown_client_is_refused_before_anything_is_loaded(school: School, teach: Teach) -> None:
    done = teach(school.command("--export_for=comfy"))
    assert done.code == 2
    assert "export_for: found 'comfy', allowed: none, all, webui" in done.errors[0]
    assert 'did you mean "comfyui"?' in done.errors[0]
    assert not school.museum.exists()
