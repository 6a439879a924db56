"""The museum file: what is written comes back bit for bit, and a file that is not whole is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from museum_plugin.errors import MuseumFileError, OutputError, TrainingError
from museum_plugin.museum.file import HEADER_LIMIT, MuseumContent, read_ledger, read_museum, slots_key, write_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.keys import kohya_key
from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord

PATHS = ("down_blocks.0.attentions.0.proj_in", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k")
TARGETS = (*(kohya_key("unet", path) for path in PATHS), kohya_key("te", "encoder.layers.0.mlp.fc1"))
KOHYA = re.compile(r"lora_(unet|te|te1|te2)_\w+\.(lora_down\.weight|lora_up\.weight|alpha)")
CLIP_L = slots_key("clip_l")
DOWN = f"{TARGETS[0]}.lora_down.weight"


def style(name: str, *words: str) -> StyleRecord:
    ids = tuple(range(5, 5 + len(words)))
    taught_at = "2026-01-02T03:04:05+00:00"
    return StyleRecord(name, " ".join(words), words, ids, taught_at, 9, 3, "ab", "museum", {}, {}, {name: 0.5})


def museum(*styles: StyleRecord, family: str = "sd1", seed: int = 0) -> MuseumContent:
    rng = torch.Generator().manual_seed(seed)
    lora = {}
    for i, key in enumerate(TARGETS):
        kernel = (1, 1) if i == 0 else ()  # proj_in of SD1 is a convolution
        lora[f"{key}.lora_down.weight"] = torch.randn(4, 6, *kernel, generator=rng)
        lora[f"{key}.lora_up.weight"] = torch.randn(8, 4, *kernel, generator=rng)
        lora[f"{key}.alpha"] = torch.tensor(0.1)
    widths = {"sd1": {"clip_l": 16}, "sd2": {"clip_h": 16}, "sdxl": {"clip_l": 16, "clip_g": 24}}[family]
    slots = {
        record.name: {encoder: torch.randn(len(record.words), d, generator=rng) for encoder, d in widths.items()}
        for record in styles
    }
    base = BaseRecord("f00d", family, "epsilon", "pocket")
    ledger = Ledger("1" * 32, base, NetworkRecord(4, 0.1, TARGETS), styles)
    return MuseumContent(lora, slots, ledger, {"ss_seed": "7", "modelspec.title": "Größe"})


def three_styles(**options: str) -> MuseumContent:
    return museum(style("hatch", "nlwx"), style("水彩", "rctid", "bsgo"), style("neon", "coyi"), **options)


def assert_same(one: MuseumContent, other: MuseumContent) -> None:
    assert one.ledger == other.ledger
    assert one.metadata == other.metadata
    for mine, its in ((one.lora, other.lora), *((one.slots[name], other.slots[name]) for name in one.slots)):
        assert sorted(mine) == sorted(its)
        assert all(torch.equal(mine[name], its[name]) for name in mine)
    assert list(one.slots) == list(other.slots)


def rewritten(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], None]) -> None:
    """Change a file as another tool would."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata or None)


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
