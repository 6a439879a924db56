"""`export` as a user calls it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from museum_plugin.__main__ import main
from museum_plugin.export.plain_words import PlainPlan
from museum_plugin.museum.file import read_museum, write_museum
from tests.unit.cli.museums import SLOT_WORDS


@pytest.fixture
def here(museum: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mine.safetensors in it, where the user is."""
    monkeypatch.chdir(museum.parent)
    return museum.parent


def test_the_file_for_webuis_is_the_default(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mine.safetensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(Path("exports") / "mine-webui")
    assert "  mine.safetensors" in lines
    assert f"  embeddings/{SLOT_WORDS['ink']}.safetensors" in lines
    assert "  ComfyUI     loads, triggers work (4 keys not used: 4 warnings)" in lines
    assert any(line.startswith("  diffusers   refuses it") for line in lines)

    tensors = load_file(here / "exports" / "mine-webui" / "mine.safetensors")
    assert tensors[f"bundle_emb.{SLOT_WORDS['dots']}.dora_scale"].dtype == torch.float16


def test_flags_reach_the_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "own.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = "export mine.safetensors --for a1111 diffusers --styles dots --room night --output_dir out"
    assert main([*words.split(), "--save_precision", "float", "--no_metadata", "--preview", "own.png"]) == 0
    assert sorted(path.name for path in (here / "out").iterdir()) == ["night-a1111", "night-diffusers"]
    tensors = load_file(here / "out" / "night-a1111" / "night.safetensors")
    content = read_museum(here / "mine.safetensors")
    assert torch.equal(tensors[f"bundle_emb.{SLOT_WORDS['dots']}.dora_scale"], content.slots["dots"]["clip_l"])
    assert not [key for key in tensors if "slots" in key or SLOT_WORDS["ink"] in key]
    assert (here / "out" / "night-a1111" / "night.png").is_file()
    assert "A1111       loads, triggers work\n" in capsys.readouterr().out


def test_plain_words_are_learned_on_the_base_model(
    here: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("museum_plugin.cli.plain_words.PlainPlan", partial(PlainPlan, steps=3))
    command = ["export", "mine.safetensors", "--for", "plain", "--pretrained_model_name_or_path"]
    assert main([*command, str(here / "gone")]) == 4
    assert not (here / "exports").exists()
    assert main([*command, str(tiny_base)]) == 0
    spoken = capsys.readouterr()
    assert "  Forge       loads, triggers work\n" in spoken.out
    tensors = load_file(here / "exports" / "mine-plain" / "mine.safetensors")
    own = read_museum(here / "mine.safetensors").ledger.network.targets
    assert {key.partition(".")[0] for key in tensors} > set(own)
    assert [key for key in tensors if key.startswith("lora_te_")]


def test_the_base_model_is_not_needed(here: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("museum_plugin.cli.museum_base.load_base", None)  # whoever calls it fails
    assert main(["export", "mine.safetensors", "--for", "all"]) == 0


def without_base_rows(here: Path, *, base: str | None) -> None:
    """As an earlier Museum wrote it."""
    content = read_museum(here / "mine.safetensors")
    styles = content.ledger.styles
    if base is not None:
        styles = tuple(replace(r, settings={**r.settings, "pretrained_model_name_or_path": base}) for r in styles)
    content = replace(content, base_rows={}, ledger=replace(content.ledger, styles=styles))
    write_museum(here / "mine.safetensors", content, keep_history=0)


def test_a_museum_of_an_earlier_version_takes_the_rows_from_its_base(here: Path, tiny_base: Path) -> None:
    words = ["export", "mine.safetensors", "--for", "comfyui", "--save_precision", "float", "--output_dir"]
    assert main([*words, "new"]) == 0
    without_base_rows(here, base=None)
    assert main([*words, "old"]) == 0
    new, old = (load_file(here / folder / "mine-comfyui" / "mine.safetensors") for folder in ("new", "old"))
    assert new.keys() == old.keys()
    assert all(torch.equal(new[key], old[key]) for key in new)


def test_without_its_base_it_says_which_one_is_needed(
    here: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_base_rows(here, base="moved/far/away")
    assert main(["export", "mine.safetensors", "--for", "comfyui"]) == 4
    assert "give its folder with --pretrained_model_name_or_path" in capsys.readouterr().err
    assert not (here / "exports").exists()
    assert main(["export", "mine.safetensors", "--for", "a1111"]) == 0  # needs none
    words = ["export", "mine.safetensors", "--for", "comfyui", "--pretrained_model_name_or_path", str(tiny_base)]
    assert main(words) == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--for comfy", 2, 'did you mean "comfyui"'),
        ("--styles dotes", 5, 'did you mean "dots"'),
        ("--room a:b", 2, "cannot hold"),
        ("--save_precision fp8", 2, "invalid choice"),
        ("--preview none.png", 7, "none.png cannot be read"),
        ("--output_dir taken", 7, "cannot be written"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    here: Path, words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "taken").write_text("a file")
    before = sorted(here.rglob("*"))
    assert main(["export", "mine.safetensors", *words.split()]) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert sorted(here.rglob("*")) == before


def test_a_file_of_the_users_is_replaced_only_when_forced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mine.safetensors"]) == 0
    mine = here / "exports" / "mine-webui" / "mine.json"
    mine.write_text("my notes")
    assert main(["export", "mine.safetensors"]) == 7
    assert "mine.json: not written by this command, or changed since" in capsys.readouterr().err
    assert mine.read_text() == "my notes"
    assert main(["export", "mine.safetensors", "--force"]) == 0
    assert "activation text" in mine.read_text()


def test_a_room_is_a_museum_of_its_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mine.safetensors", "--styles", "dots", "--room", "night"]) == 0
    shutil.copy(here / "exports" / "night-webui" / "night.safetensors", here / "night.safetensors")
    capsys.readouterr()
    assert main(["list", "night.safetensors"]) == 0
    told = capsys.readouterr().out
    assert SLOT_WORDS["dots"] in told
    assert SLOT_WORDS["ink"] not in told
