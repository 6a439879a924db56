"""What is never written, and what a damaged museum file says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from museum_plugin.errors import MuseumFileError, OutputError, TrainingError
from museum_plugin.museum.file import HEADER_LIMIT, MuseumContent, read_ledger, read_museum, write_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.ledger import BaseRecord
from tests.unit.museum.museum_files import (
    CLIP_L,
    DOWN,
    TARGETS,
    assert_same,
    museum,
    rewritten,
    style,
    three_styles,
)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", [DOWN, f"{TARGETS[2]}.alpha", CLIP_L])
def test_a_value_that_is_not_finite_is_never_written(tmp_path: Path, name: str, value: float) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, three_styles(), keep_history=3)
    before = path.read_bytes()
    content = three_styles(seed=1)
    tensor = content.slots["neon"]["clip_l"] if name == CLIP_L else content.lora[name]
    tensor.view(-1)[-1] = value
    with pytest.raises(TrainingError, match=f"mine.safetensors: not written: tensor {re.escape(name)} holds values"):
        write_museum(path, content, keep_history=3)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["mine.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.lora.pop(DOWN), "1 tensors are missing, such as " + re.escape(DOWN)),
        (lambda c: c.lora.update({"lora_unet_x.alpha": torch.ones(())}), "not in its ledger.*lora_unet_x.alpha"),
        (lambda c: c.lora.update({DOWN: torch.ones(3, 6)}), r"down \(3, 6\).*its ledger says rank 4"),
        (lambda c: c.lora.update({f"{TARGETS[0]}.alpha": torch.ones(())}), "alpha 1.0, its ledger says 0.1"),
        (lambda c: c.slots.pop("neon"), "slot of style 'neon' for clip_l: found shape None"),
        (lambda c: c.slots.clear(), f"1 tensors are missing, such as {CLIP_L}"),
        (lambda c: c.slots.update(new={}), r"slots of styles that are not in its ledger: \['new'\]"),
        (lambda c: c.slots["neon"].update(clip_l=torch.ones(2, 16)), r"found shape \(2, 16\), its ledger says 1 rows"),
        (lambda c: c.slots["neon"].update(clip_l=torch.ones(1, 8)), r"found shape \(1, 8\), .* one width"),
        (lambda c: [s.update(clip_g=s["clip_l"]) for s in c.slots.values()], "not in its ledger.*clip_g"),
    ],
)
def test_content_that_would_not_read_back_is_never_written(
    tmp_path: Path, change: Callable[[MuseumContent], object], message: str
) -> None:
    content = three_styles()
    change(content)
    with pytest.raises(ValueError, match=f"not a whole museum: .*{message}"):
        write_museum(tmp_path / "mine.safetensors", content, keep_history=3)
    assert os.listdir(tmp_path) == []


def test_the_header_of_a_full_museum_stays_short(tmp_path: Path) -> None:
    """47 styles, as many as there are slot words, each with 193 flags, on the 264 modules of SD1."""
    flags = {f"some_flag_of_the_run_{i}": "a typical value" for i in range(193)}
    signature = {"mean": [-0.12345678] * 16, "covariance": [[-0.12345678] * (i + 1) for i in range(16)]}
    styles = [replace(style(f"style {i}", f"word{i}"), settings=flags, signature=signature) for i in range(47)]
    keys = [f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_{i}" for i in range(264)]
    content = museum(*styles)
    layer = {leaf: content.lora[f"{TARGETS[1]}.{leaf}"] for leaf in ("lora_down.weight", "lora_up.weight", "alpha")}
    lora = {f"{key}.{leaf}": tensor for key in keys for leaf, tensor in layer.items()}
    network = replace(content.ledger.network, targets=tuple(keys))
    content = replace(content, lora=lora, ledger=replace(content.ledger, network=network))
    path = tmp_path / "mine.safetensors"

    write_museum(path, content, keep_history=0)

    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length < HEADER_LIMIT == 1024**2
    assert length % 8 == 0  # readers map the tensors behind it
    assert len(read_ledger(path).styles) == 47


def test_a_header_that_grew_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, three_styles(), keep_history=1)
    before = path.read_bytes()
    covers = replace(three_styles(), metadata={"ssmd_cover_images": "x" * HEADER_LIMIT})
    with pytest.raises(OutputError, match="its header would take .* the longest string is 'ssmd_cover_images'"):
        write_museum(path, covers, keep_history=1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("a file/mine.safetensors", "cannot be written: (Not a directory|File exists).*check the path"),
        ("/proc/mine.safetensors", "cannot be written: .*check the path"),
        ("/proc/none/mine.safetensors", "cannot be written: .*check the path"),
        ("a folder", "cannot be written: Is a directory.*check the path"),
    ],
)
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    with pytest.raises(OutputError, match=message):
        write_museum(tmp_path / place, museum(), keep_history=1)
    assert sorted(os.listdir(tmp_path)) == ["a file", "a folder"]


def test_a_missing_folder_is_created_and_a_link_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "deep" / "folder" / "mine.safetensors"
    write_museum(real, museum(), keep_history=1)
    (tmp_path / "link.safetensors").symlink_to(real)
    write_museum(tmp_path / "link.safetensors", three_styles(), keep_history=1)
    assert (tmp_path / "link.safetensors").is_symlink()
    assert read_ledger(real) == three_styles().ledger
    assert [version.style_count for version in history(tmp_path / "link.safetensors")] == [0]


def set_ledger(key: str, value: object) -> Callable[[dict[str, Tensor], dict[str, str]], None]:
    def change(_tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["museum"] = json.dumps({**json.loads(metadata["museum"]), key: value})

    return change


DAMAGES: dict[str, tuple[Callable[[dict[str, Tensor], dict[str, str]], None], str]] = {
    "no ledger": (lambda _, m: m.pop("museum"), "a plain LoRA or other model without a museum ledger"),
    "no metadata": (lambda _, m: m.clear(), "a plain LoRA or other model without a museum ledger"),
    "ledger not JSON": (lambda _, m: m.update(museum="{"), "ledger: not valid JSON"),
    "newer": (set_ledger("format_version", 99), "found format version 99, known up to 1; update Museum"),
    "family": (
        set_ledger("base", vars(BaseRecord("f", "sd9", "epsilon", "x"))),
        "found 'sd9', allowed: sd1, sd2, sdxl",
    ),
    "no down": (lambda t, _: t.pop(DOWN), "1 tensors are missing, such as " + re.escape(DOWN)),
    "no slots": (lambda t, _: t.pop(CLIP_L), f"1 tensors are missing, such as {CLIP_L}"),
    "rows": (lambda t, _: t.update({CLIP_L: torch.ones(3, 16)}), r"found shape \(3, 16\), its ledger says 4 rows"),
    "rank": (lambda t, _: t.update({DOWN: torch.ones(2, 6)}), r"down \(2, 6\).*its ledger says rank 4"),
    "stranger": (lambda t, _: t.update(other=torch.ones(1)), "1 tensors are not in its ledger, such as other"),
    "not finite": (lambda t, _: t[DOWN].fill_(float("nan")), f"tensor {re.escape(DOWN)} holds values that are not"),
}


@pytest.mark.parametrize("has_history", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_changed_file_is_refused_and_the_way_back_is_named(tmp_path: Path, damage: str, has_history: bool) -> None:
    path = tmp_path / "mine.safetensors"
    change, message = DAMAGES[damage]
    for seed in range(2):
        write_museum(path, three_styles(seed=seed), keep_history=has_history)
    rewritten(path, change)
    with pytest.raises(MuseumFileError, match=message) as raised:
        read_museum(path)
    assert str(path) in str(raised.value)
    assert (f"python -m museum_plugin rollback {path}" in str(raised.value)) == has_history


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda whole: whole[:-1], "cut short or damaged"),
        (lambda whole: whole[:100], "cut short or damaged"),
        (lambda whole: b"", "not a safetensors file"),
        (lambda whole: b"PK\x03\x04 a checkpoint of another kind", "not a safetensors file"),
    ],
)
@pytest.mark.parametrize("read", [read_museum, read_ledger])
def test_bytes_that_are_no_whole_file(
    tmp_path: Path, read: Callable[[Path], object], cut: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, three_styles(), keep_history=0)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(MuseumFileError, match=f"mine.safetensors: {message} .*restore a backup"):
        read(path)


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    write_museum(tmp_path / "monet.safetensors", museum(), keep_history=0)
    with pytest.raises(MuseumFileError, match='no such file; did you mean "monet.safetensors"'):
        read_museum(tmp_path / "mornet.safetensors")
    with pytest.raises(MuseumFileError, match="no such file; check the path"):
        read_museum(tmp_path / "nowhere" / "x.safetensors")
    with pytest.raises(MuseumFileError, match="not a file"):
        read_museum(tmp_path)


def test_copies_of_the_slots_in_a_published_file_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, three_styles(), keep_history=0)
    rewritten(path, lambda tensors, _: tensors.update({"bundle_emb.nlwx.emb_params": torch.ones(1, 16)}))
    assert_same(read_museum(path), three_styles())
