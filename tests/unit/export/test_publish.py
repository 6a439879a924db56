"""What is in the folder of each client, for all families."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from museum_plugin.config.schema import EXPORTS
from museum_plugin.errors import ConfigError, MuseumFileError, OutputError
from museum_plugin.export.outline import read_outline
from museum_plugin.export.publish import Order, publish
from museum_plugin.export.targets import TARGETS, Target, chosen_targets
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.ledger import StyleRecord
from tests.family_museums import family_museum, many_styles, style

TWO = (style("ink", "nlwx"), style("neon", "rctid", "bsgo"))
FAMILIES = ("sd1", "sd2", "sdxl")
PNG = b"\x89PNG\r\n\x1a\n"


def order(folder: Path, *targets: str, **more: object) -> Order:
    return replace(Order(folder / "mine.safetensors", chosen_targets(targets), folder / "exports"), **more)


def exported(folder: Path, content: MuseumContent, *targets: str, **more: object) -> Path:
    """The one folder that was written."""
    (done,) = publish(content, order(folder, *targets, **more))
    return done.folder


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("family", FAMILIES)
def test_each_client_gets_what_it_needs(tmp_path: Path, family: str) -> None:
    publish(family_museum(family, *TWO), order(tmp_path, "all", "sidecars"))
    texts, lora = ["mine.json", "mine.txt", "museum-export.json"], "mine.safetensors"
    sidecars = ["embeddings/nlwx.safetensors", "embeddings/rctid bsgo.safetensors"]
    expected = {
        "webui": [*sidecars, lora, *texts],
        "comfyui": [lora, *texts],
        "a1111": [lora, *texts],
        "sdnext": [lora, *texts],
        "forge": [*sidecars, lora, *texts],
        "invoke": [*sidecars, lora, *texts],
        "diffusers": [*sidecars, lora, *texts],
        "sidecars": [*sidecars, *texts],
    }
    found = {path.name.removeprefix("mine-"): written(path) for path in (tmp_path / "exports").iterdir()}
    assert found == {name: sorted(files) for name, files in expected.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", ["webui", "comfyui", "a1111", "forge"])
def test_the_file_is_still_the_whole_museum(tmp_path: Path, family: str, target: str) -> None:
    content = family_museum(family, *TWO)
    again = read_museum(exported(tmp_path, content, target, precision="float") / "mine.safetensors")
    assert again.ledger == content.ledger
    assert again.metadata == content.metadata
    assert all(torch.equal(again.lora[key], content.lora[key]) for key in content.lora)
    for name in ("ink", "neon"):
        for encoder, vector in content.slots[name].items():
            assert torch.equal(again.slots[name][encoder], vector)
            assert torch.equal(again.base_rows[name][encoder], content.base_rows[name][encoder])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_form_of_a_slot_says_the_same(tmp_path: Path, family: str) -> None:
    content = family_museum(family, *TWO)
    folder = exported(tmp_path, content, "webui", precision="float")
    tensors = load_file(folder / "mine.safetensors")
    sidecar = load_file(folder / "embeddings" / "rctid bsgo.safetensors")
    for encoder, vector in content.slots["neon"].items():
        leaf, name = (encoder, encoder) if family == "sdxl" else ("dora_scale", "emb_params")
        assert torch.equal(tensors[f"bundle_emb.rctid bsgo.{leaf}"], vector)
        assert torch.equal(sidecar[name], vector)
        table = f"text_encoders.{encoder}.transformer.text_model.embeddings.token_embedding"
        up, down = tensors[f"{table}.lora_up.weight"], tensors[f"{table}.lora_down.weight"]
        assert up.shape == (49408, 3)
        assert [up[:, i].nonzero().item() for i in range(3)] == [49260, 49223, 48474]
        torch.testing.assert_close(down[1:] + content.base_rows["neon"][encoder], vector)


def test_a_file_for_diffusers_holds_layers_alone(tmp_path: Path) -> None:
    path = exported(tmp_path, family_museum("sdxl", *TWO), "diffusers") / "mine.safetensors"
    assert all(key.startswith("lora_") for key in load_file(path))
    with pytest.raises(MuseumFileError, match="without a museum ledger"):
        read_museum(path)


def test_without_metadata_no_ledger_and_no_words_of_the_users_are_published(tmp_path: Path) -> None:
    path = exported(tmp_path, family_museum("sd1", *TWO), "webui", with_ledger=False) / "mine.safetensors"
    with safe_open(path, "pt") as file:
        metadata, keys = file.metadata(), set(file.keys())
    assert "museum" not in metadata
    assert "ss_seed" not in metadata
    assert metadata["ss_output_name"] == "mine"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert not [key for key in keys if key.startswith("bundle_emb_slots")]
    assert "bundle_emb.nlwx.dora_scale" in keys


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "F16"), ("bf16", "BF16"), ("float", "F32")])
def test_numbers_are_stored_in_the_precision_asked_for(tmp_path: Path, precision: str, dtype: str) -> None:
    folder = exported(tmp_path, family_museum("sd1", *TWO), "webui", precision=precision)
    for path in (folder / "mine.safetensors", folder / "embeddings" / "nlwx.safetensors"):
        with safe_open(path, "pt") as file:
            found = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert {found[key] for key in found if not key.endswith(".alpha")} == {dtype}
        assert {found[key] for key in found if key.endswith(".alpha")} <= {"F32"}


def test_a_room_goes_under_its_own_name(tmp_path: Path) -> None:
    folder = exported(tmp_path, family_museum("sd1", *TWO), "webui", styles=("neon",), room="night")
    assert folder.name == "night-webui"
    assert "embeddings/nlwx.safetensors" not in written(folder)
    outline = read_outline(folder / "night.safetensors")
    assert outline.triggers == ("rctid bsgo",)
    assert outline.metadata["ss_output_name"] == "night"
    assert json.loads(outline.metadata["museum_room"])["left_out"] == ["ink"]
    assert "bundle_emb.nlwx.dora_scale" not in outline.shapes


def test_the_texts_tell_every_style(tmp_path: Path) -> None:
    folder = exported(tmp_path, family_museum("sdxl", *TWO), "webui")
    told = json.loads((folder / "mine.json").read_text(encoding="utf-8"))
    assert told["sd version"] == "SDXL"
    assert told["activation text"] == "rctid bsgo style"
    assert told["preferred weight"] == 1.0
    assert told["notes"] == "ink: nlwx style\nneon: rctid bsgo style"
    text = (folder / "mine.txt").read_text(encoding="utf-8")
    assert "<lora:mine:1> a cat in rctid bsgo style" in text
    assert "InvokeAI    refuses it" in text


@pytest.mark.parametrize(("family", "calls"), [("sd1", 1), ("sdxl", 2)])
def test_the_text_for_diffusers_is_code(tmp_path: Path, family: str, calls: int) -> None:
    folder = exported(tmp_path, family_museum(family, *TWO), "diffusers")
    lines = (folder / "mine.txt").read_text(encoding="utf-8").splitlines()
    code = [line.strip() for line in lines if line.startswith("    ")]
    for line in code:
        compile(line, "mine.txt", "exec")
    assert sum("load_textual_inversion" in line for line in code) == calls
    assert all('token=["rctid", "bsgo"]' in line for line in code if "load_textual_inversion" in line)


def test_texts_beside_sidecars_speak_of_the_museum_file(tmp_path: Path) -> None:
    folder = exported(tmp_path, family_museum("sd1", *TWO), "sidecars", room="night")
    text = (folder / "night.txt").read_text(encoding="utf-8")
    assert "A1111, Forge, SD.Next: mine.safetensors" in text
    assert "<lora:mine:1> a cat in rctid bsgo style" in text
    assert "a cat in <rctid bsgo> style" in text
    assert "rctid bsgo.safetensors renamed to rctid-bsgo.safetensors" in text
    assert "a cat in embedding:rctid-bsgo style" in text


def test_comfyui_is_told_of_sidecars_only_where_the_file_holds_no_slots(tmp_path: Path) -> None:
    folder = exported(tmp_path, family_museum("sd1", TWO[0]), "webui")
    text = (folder / "mine.txt").read_text(encoding="utf-8")
    assert "for model and clip, then: a cat in nlwx style" in text
    assert "embedding:" not in text


def test_the_users_description_is_kept(tmp_path: Path) -> None:
    content = family_museum("sd1", *TWO)
    content = replace(content, metadata={"modelspec.description": "mine own"})
    told = json.loads((exported(tmp_path, content, "forge") / "mine.json").read_text(encoding="utf-8"))
    assert told["description"] == "mine own"


def test_beyond_forges_budget_nothing_is_written_and_the_ways_out_are_named(tmp_path: Path) -> None:
    content = family_museum("sdxl", *many_styles(4))
    with pytest.raises(OutputError, match="in Forge the file would be refused: 14 keys.*--styles.*--for forge"):
        publish(content, order(tmp_path, "comfyui", "webui"))
    assert not (tmp_path / "exports").exists()
    for way in ({"styles": ("style0", "style1", "style2"), "room": "few"}, {"with_ledger": False}):
        assert exported(tmp_path, content, "webui", **way).is_dir()
    assert exported(tmp_path, content, "forge").is_dir()


def test_what_would_be_refused_is_written_when_forced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "museum"):
        folder = exported(tmp_path, family_museum("sdxl", *many_styles(4)), "webui", force=True)
    assert (folder / "mine.safetensors").is_file()
    assert "in Forge the file would be refused" in caplog.text


def test_a_promised_trigger_that_would_not_fire_is_refused(tmp_path: Path) -> None:
    content = family_museum("sd1", style("ink", "nlwx"), style("dotted", "mon.et"))
    with pytest.raises(OutputError, match="in A1111 triggers would not all work: trigger 'mon.et' has a dot"):
        publish(content, order(tmp_path, "a1111"))
    assert exported(tmp_path, content, "forge").is_dir()


@pytest.mark.parametrize(
    ("styles", "more", "error", "said"),
    [
        ((), {}, MuseumFileError, "knows no style yet"),
        (TWO, {"styles": ("nein",)}, MuseumFileError, 'did you mean "neon"'),
        (TWO, {"room": "a:b"}, ConfigError, "cannot hold"),
        ((style("odd", "a/b"),), {}, MuseumFileError, "trigger: found 'a/b'"),
        (TWO, {"preview": Path("nowhere.png")}, OutputError, r"--preview: nowhere\.png cannot be read"),
    ],
)
def test_what_cannot_be_published_leaves_nothing(
    tmp_path: Path, styles: tuple[StyleRecord, ...], more: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        publish(family_museum("sd1", *styles), order(tmp_path, "webui", **more))
    assert not (tmp_path / "exports").exists()


def test_a_word_that_clip_does_not_have_is_refused_for_comfyui(tmp_path: Path) -> None:
    record = replace(style("ink", "nlwx"), token_ids=(49409,))
    with pytest.raises(MuseumFileError, match="token 49409 .* --for sidecars"):
        publish(family_museum("sd1", record), order(tmp_path, "comfyui"))
    assert exported(tmp_path, family_museum("sd1", record), "a1111").is_dir()


def test_without_the_bases_rows_only_the_patched_table_is_refused(tmp_path: Path) -> None:
    content = family_museum("sd1", *TWO, with_base_rows=False)
    with pytest.raises(MuseumFileError, match="base's own embedding"):
        publish(content, order(tmp_path, "comfyui"))
    assert exported(tmp_path, content, "a1111").is_dir()


def test_the_chosen_preview_wins_over_the_newest_grid(tmp_path: Path) -> None:
    record = replace(style("ink", "nlwx"), settings={"output_dir": str(tmp_path / "run")})
    content = family_museum("sd1", record)
    assert "mine.png" not in written(exported(tmp_path, content, "forge"))
    for folder, number, text in (("run", 1, b"first"), ("run", 10, b"tenth"), (".", 2, b"beside")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"mine-{number:02d}-ink-grid.png").write_bytes(PNG + text)
    (tmp_path / "run" / "other-99-ink-grid.png").write_bytes(PNG)
    folder = exported(tmp_path, content, "forge")
    assert (folder / "mine.png").read_bytes() == PNG + b"tenth"
    (tmp_path / "own.png").write_bytes(PNG + b"own")
    folder = exported(tmp_path, content, "forge", preview=tmp_path / "own.png")
    assert (folder / "mine.png").read_bytes() == PNG + b"own"
    (tmp_path / "own.png").write_bytes(b"GIF89a")
    with pytest.raises(OutputError, match="is no PNG picture"):
        publish(content, order(tmp_path, "forge", preview=tmp_path / "own.png"))


def test_a_master_file_and_its_exports_are_opened_alike(tmp_path: Path) -> None:
    """The export of an export is the export."""
    content = family_museum("sdxl", *TWO)
    write_museum(tmp_path / "mine.safetensors", content, keep_history=0)
    first = exported(tmp_path, read_museum(tmp_path / "mine.safetensors"), "webui", precision="float")
    bytes_of_first = (first / "mine.safetensors").read_bytes()
    again = exported(tmp_path, read_museum(first / "mine.safetensors"), "webui", precision="float")
    assert (again / "mine.safetensors").read_bytes() == bytes_of_first


def test_targets_are_told_by_name() -> None:
    assert tuple(TARGETS) == EXPORTS
    assert chosen_targets(["forge", "forge"]) == (TARGETS["forge"],)
    everything: tuple[Target, ...] = chosen_targets(["all"])
    assert {target.name for target in everything} == set(TARGETS) - {"plain", "sidecars"}
    with pytest.raises(ConfigError, match="--for: found 'comfy', allowed: webui, .*; did you mean \"comfyui\""):
        chosen_targets(["comfy"])


def test_an_imported_style_has_no_slot_and_is_published_beside_those_that_have(tmp_path: Path) -> None:
    imported = replace(style("old", "nlwx"), words=(), token_ids=(), trigger="by somebody: <lora>")
    folder = exported(tmp_path, family_museum("sd1", imported, *TWO[1:]), "webui")
    assert [name for name in written(folder) if "embeddings" in name] == ["embeddings/rctid bsgo.safetensors"]
    assert "by somebody: <lora>" in (folder / "mine.txt").read_text(encoding="utf-8")
    assert read_outline(folder / "mine.safetensors").triggers == ("rctid bsgo",)
    alone = exported(tmp_path, family_museum("sd1", imported), "comfyui")
    assert written(alone) == ["mine.json", "mine.safetensors", "mine.txt", "museum-export.json"]
