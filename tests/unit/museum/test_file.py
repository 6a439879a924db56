"""The museum file: what is written comes back bit for bit, and a file that is not whole is refused."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from museum_plugin.museum.file import read_ledger, read_museum, slots_key, write_museum
from museum_plugin.museum.history import history
from tests.unit.museum.museum_files import (
    CLIP_L,
    DOWN,
    KOHYA,
    TARGETS,
    assert_same,
    museum,
    rewritten,
    style,
    three_styles,
)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_everything_comes_back_bit_for_bit(tmp_path: Path, family: str) -> None:
    content = three_styles(family=family)
    write_museum(tmp_path / "mine.safetensors", content, keep_history=0)
    assert_same(read_museum(tmp_path / "mine.safetensors"), content)


def test_a_museum_without_styles_comes_back(tmp_path: Path) -> None:
    write_museum(tmp_path / "mine.safetensors", museum(), keep_history=0)
    assert_same(read_museum(tmp_path / "mine.safetensors"), museum())


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    content = three_styles()
    backwards = replace(
        content,
        lora=dict(reversed(content.lora.items())),
        slots=dict(reversed(content.slots.items())),
        metadata=dict(reversed(content.metadata.items())),
    )
    paths = [tmp_path / name / "mine.safetensors" for name in "abc"]
    write_museum(paths[0], content, keep_history=0)
    write_museum(paths[1], backwards, keep_history=0)
    write_museum(paths[2], read_museum(paths[0]), keep_history=0)
    assert len({path.read_bytes() for path in paths}) == 1
    write_museum(paths[2], three_styles(seed=1), keep_history=0)
    assert paths[2].read_bytes() != paths[0].read_bytes()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_webuis_see_a_kohya_lora_and_one_tensor_of_slots_for_each_encoder(tmp_path: Path, family: str) -> None:
    content = three_styles(family=family)
    write_museum(tmp_path / "mine.safetensors", content, keep_history=0)
    tensors = load_file(tmp_path / "mine.safetensors")
    others = sorted(name for name in tensors if not KOHYA.fullmatch(name))
    assert others == sorted(slots_key(encoder) for encoder in content.slots["hatch"])
    assert torch.equal(tensors[CLIP_L], torch.cat([slot["clip_l"] for slot in content.slots.values()]))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert tensors[f"{TARGETS[0]}.alpha"].shape == ()
    with safe_open(tmp_path / "mine.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_output_name"] == "mine"
    data = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    assert metadata["sshs_model_hash"] == hashlib.sha256(data).hexdigest()


def test_hashes_are_those_of_sd_scripts_for_a_file_above_one_mebibyte(tmp_path: Path) -> None:
    content = museum(style("hatch", "nlwx"))
    big = {f"{TARGETS[1]}.lora_up.weight": torch.arange(400_000.0).view(-1, 4)}
    path = tmp_path / "mine.safetensors"
    write_museum(path, replace(content, lora=content.lora | big), keep_history=0)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    alone = save(load_file(path), {key: text for key, text in metadata.items() if key.startswith("ss_")})
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(alone[0x100000:0x110000]).hexdigest()[:8]


def test_any_layout_and_type_of_tensor_is_stored_as_float32(tmp_path: Path) -> None:
    content = museum()
    shared = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    names = [f"{key}.lora_down.weight" for key in TARGETS[1:]]
    lora = content.lora | {name: shared[i].T for i, name in enumerate(names)}
    write_museum(tmp_path / "mine.safetensors", replace(content, lora=lora), keep_history=0)
    again = read_museum(tmp_path / "mine.safetensors").lora
    assert all(torch.equal(again[name], shared[i].detach().T.float()) for i, name in enumerate(names))


def test_read_tensors_live_apart_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, three_styles(), keep_history=0)
    content = read_museum(path)
    content.slots["neon"]["clip_l"].zero_()
    content.lora[DOWN].zero_()
    assert_same(read_museum(path), three_styles())
    content = read_museum(path)
    with path.open("r+b") as file:  # another tool writes in place
        file.write(b" " * path.stat().st_size)
    assert_same(content, three_styles())


def test_a_file_that_was_saved_in_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    content = museum()
    ledger = replace(content.ledger, network=replace(content.ledger.network, alpha=0.5))
    alphas = {name: torch.tensor(0.5) for name in content.lora if name.endswith(".alpha")}
    write_museum(path, replace(content, lora=content.lora | alphas, ledger=ledger), keep_history=0)
    rewritten(path, lambda tensors, _: tensors.update({name: t.half() for name, t in tensors.items()}))
    again = read_museum(path).lora
    assert {tensor.dtype for tensor in again.values()} == {torch.float32}
    assert torch.equal(again[DOWN], content.lora[DOWN].half().float())


def test_the_ledger_alone(tmp_path: Path) -> None:
    write_museum(tmp_path / "mine.safetensors", three_styles(), keep_history=0)
    assert read_ledger(tmp_path / "mine.safetensors") == three_styles().ledger


def test_unknown_fields_of_the_ledger_survive_a_rewrite(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    content = three_styles()
    write_museum(path, replace(content, ledger=replace(content.ledger, extra={"new": [1, "x"]})), keep_history=0)
    write_museum(path, read_museum(path), keep_history=0)
    assert read_ledger(path).extra == {"new": [1, "x"]}


def test_the_file_can_be_read_by_whoever_may_read_new_files(tmp_path: Path) -> None:
    write_museum(tmp_path / "mine.safetensors", museum(), keep_history=0)
    (tmp_path / "other").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("mine.safetensors", "other")]
    assert modes[0] == modes[1]


def test_keep_history_is_how_many_earlier_versions_stay(tmp_path: Path) -> None:
    for keep in (0, 2):
        path = tmp_path / str(keep) / "mine.safetensors"
        for seed in range(4):
            write_museum(path, three_styles(seed=seed), keep_history=keep)
        assert_same(read_museum(path), three_styles(seed=3))
        kept = [read_museum(version.path) for version in history(path)]
        assert len(kept) == keep
        for content, seed in zip(kept, (1, 2), strict=False):
            assert_same(content, three_styles(seed=seed))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_bases_own_rows_are_kept_below_the_slots(tmp_path: Path, family: str) -> None:
    plain = three_styles(family=family)
    rows = {name: {e: v + 100 for e, v in vectors.items()} for name, vectors in plain.slots.items()}
    content = replace(plain, base_rows=rows)
    write_museum(tmp_path / "m.safetensors", content, keep_history=0)
    again = read_museum(tmp_path / "m.safetensors")
    assert_same(again, content)
    for name, vectors in rows.items():
        assert all(torch.equal(again.base_rows[name][encoder], vector) for encoder, vector in vectors.items())
    stored = load_file(tmp_path / "m.safetensors")
    assert len(load_file(tmp_path / "m.safetensors")[CLIP_L]) == 8
    write_museum(tmp_path / "m.safetensors", plain, keep_history=0)  # as an earlier Museum did
    earlier = read_museum(tmp_path / "m.safetensors")
    assert earlier.base_rows == {}
    assert torch.equal(load_file(tmp_path / "m.safetensors")[CLIP_L], stored[CLIP_L][:4])
