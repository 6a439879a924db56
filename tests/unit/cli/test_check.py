"""`check`: what a run would do, and all that is wrong with it at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from museum_plugin.__main__ import main
from tests.original_layout import original_tensors, write_true_base
from tests.tiny_models import TINY_SLOT_WORDS, write_tiny_base
from tests.unit.cli.museums import flags_of_a_new_style
from tests.unit.data.drawn import draw, draw_folder

Check = Callable[..., tuple[int, str, str]]
NEW_WORD = TINY_SLOT_WORDS[2]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Run it: exit code, output, errors."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["check", *map(str, words)])
        spoken = capsys.readouterr()
        return code, spoken.out, spoken.err

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Five pictures of a new style, one of them twice as wide."""
    draw_folder(tmp_path / "pictures", [(64, 64)] * 4 + [(128, 64)])
    return write_dataset(tmp_path, "neon", NEW_WORD)


def write_dataset(folder: Path, style: str, trigger: str) -> Path:
    file = folder / f"{style}.toml"
    text = f'[[datasets]]\nresolution = 64\nbatch_size = 2\nstyle = "{style}"\ntrigger = "{trigger}"\n'
    file.write_text(text + "[[datasets.subsets]]\nimage_dir = 'pictures'\nnum_repeats = 2\n", encoding="utf-8")
    return file


@pytest.fixture
def flags(tiny_base: Path, museum: Path, dataset: Path, tmp_path: Path) -> list[str]:
    return [*flags_of_a_new_style(tiny_base, museum, dataset, tmp_path / "out"), "--max_train_steps=20"]


def test_a_run_that_can_begin(check: Check, flags: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    code, out, err = check(*flags)

    assert (code, err) == (0, "")
    for told in (
        "holds: ink, dots", f"neon: new, trigger {NEW_WORD}", "5 (5 with 2 repeats); 10 shown an epoch",
        "10.0% of a picture is lost on average", "worst 50.0%", "5 written", "20 steps = 4 epochs of 5 batches",
        "not known before the first steps", "mine-03-neon-grid.png", "problems: none",
    ):  # fmt: skip
        assert told in " ".join(out.split()), told
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_the_page_fits_its_columns(check: Check, flags: list[str]) -> None:
    _, out, _ = check(*flags)
    for line in out.splitlines():
        path = max(line.split(), key=len, default="")  # a path stays whole, so that it can be copied
        assert len(line) <= max(100, len(path) + 30), line


def test_json_says_the_same(check: Check, flags: list[str], museum: Path, tmp_path: Path) -> None:
    flags += ["--sample_every_n_steps=5", "--save_every_n_steps=5", "--logging_dir=logs", "--log_with=tensorboard"]
    code, out, _ = check(*flags, "--json")
    report: dict[str, Any] = json.loads(out)
    (style,) = report["styles"]
    assert code == 0
    assert (report["known_styles"], report["problems"], report["warnings"]) == (["ink", "dots"], [], [])
    assert (style["name"], style["trigger"], style["is_taught"], style["pictures"]) == ("neon", NEW_WORD, False, 5)
    assert (style["steps"], style["epochs"], style["batches_per_epoch"]) == (20, 4.0, 5)
    assert style["buckets"] == [{"width": 64, "height": 64, "pictures": 5, "shown": 10}]
    assert style["cropping"]["worst_picture"] == str(tmp_path / "pictures" / "04.png")
    assert set(style["files"]) == {"grid", "matrix", "previews", "saves"}
    assert set(report["files"]) == {"museum", "history", "checkpoint", "export", "logs"}
    assert len(report["clients"]) == 8
    assert report["clients"][0] == "ComfyUI     loads, triggers work with side-cars (1 key not used: 1 warning)"
    assert report["files"]["museum"] == str(museum)


def test_it_says_how_full_the_museum_is(check: Check, flags: list[str], museum: Path) -> None:
    _, out, _ = check(*flags)
    told = " ".join(out[out.index("\nhow full the museum is\n") :].split())
    assert re.search(r"effective rank 1\.\d of 2 \(1\.\d to 2\.0 in \d+ layers\)", told)
    assert f"resize {museum} --rank 4" in told
    assert "slot words are free" in told
    _, out, _ = check(
        *[flag for flag in flags if "--museum" not in flag], f"--museum={museum.parent / 'new.safetensors'}"
    )
    assert "how full" not in out


def test_everything_that_is_wrong_is_told_at_once(check: Check, flags: list[str], tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for name in ("00.png", "01.png"):
        (pictures / name).write_bytes((pictures / name).read_bytes()[:300])
    for name in ("02.caption", "03.caption"):
        (pictures / name).write_bytes("café".encode("latin-1"))
    wrong = ["--seed=soon", "--stepz=1", "--method=museums", "--optimizer_type=X", "--network_dim=4", "--clip_skip=9"]
    wrong += ["--blocks_to_swap=99"]

    code, out, err = check(*flags, *wrong, f"--output_dir={tmp_path / 'neon.toml'}")

    problems = out.partition("\nproblems: ")[2].splitlines()
    for told in (
        "00.png", "01.png", "02.caption", "03.caption", "--seed: found 'soon'", "--stepz: unknown", "'museums'",
        "optimizer_type: found 'X'", "network_dim 2, not 4", "clip_skip: found 9", "cannot be written",
        "blocks_to_swap: found 99",
    ):  # fmt: skip
        assert len([line for line in problems if told in line]) == 1, told
    assert problems[0] == "12"
    assert (code, err) == (1, "error: train_museum.py would refuse this: 12 problems, listed above\n")


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        (TINY_SLOT_WORDS[0], "exists already"),
        ("cat", "ordinary word"),
        ("xqyzt", "not one token"),
        ("auto", "knows none of"),
    ],
)
def test_a_trigger_that_cannot_be(check: Check, flags: list[str], tmp_path: Path, trigger: str, told: str) -> None:
    write_dataset(tmp_path, "neon", trigger)
    code, out, _ = check(*flags)
    assert (code, told in out.partition("\nproblems: ")[2]) == (1, True)


def test_a_museum_of_another_base(check: Check, flags: list[str], tmp_path: Path) -> None:
    other = write_tiny_base(tmp_path / "other", seed=1)
    code, out, _ = check(*flags, f"--pretrained_model_name_or_path={other}")
    assert (code, "not on 'other'" in out) == (1, True)


def test_a_base_in_one_file(check: Check, flags: list[str], tmp_path: Path) -> None:
    folder = write_true_base(tmp_path / "true")
    file = folder / "whole.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in original_tensors(folder).items()}, file)
    plain = [flag for flag in flags if "--museum" not in flag]

    code, out, _ = check(*plain, f"--pretrained_model_name_or_path={file}")
    assert (code, "whole.safetensors (sd1, epsilon)" in out, "problems: none" in out) == (0, True, True)

    code, out, _ = check(*flags, f"--pretrained_model_name_or_path={file}")
    assert (code, "not on 'whole.safetensors'" in out) == (1, True)

    code, out, _ = check(*plain, f"--pretrained_model_name_or_path={file}", "--v2", f"--vae={tmp_path / 'none.pt'}")
    assert (code, "found an SD1 model, but v2 is true" in out) == (1, True)


def test_another_vae(check: Check, flags: list[str], tiny_base: Path, tmp_path: Path) -> None:
    assert check(*flags, f"--vae={tiny_base}")[0] == 0
    code, out, _ = check(*flags, f"--vae={tmp_path / 'none.pt'}")
    assert (code, "none.pt: no VAE there" in out) == (1, True)


def test_a_style_of_the_museum_taught_from_other_pictures(check: Check, flags: list[str], tmp_path: Path) -> None:
    code, out, _ = check(*flags, f"--dataset_config={write_dataset(tmp_path, 'ink', 'auto')}")
    assert (code, "style 'ink' is in this museum already" in out) == (1, True)


def test_what_is_worth_a_thought_is_no_problem(check: Check, flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "pictures" / "00.caption").write_text("red " * 90, encoding="utf-8")
    (tmp_path / "pictures" / "01.caption").unlink()
    code, out, _ = check(*flags, "--max_train_steps=4", "--full_fp16")
    warnings = out.partition("\nwarnings: ")[2]
    for told in (
        "1 captions are longer than the 75 tokens",
        "00.png",
        "no caption file",
        "less than one epoch",
        "full_fp16",
    ):
        assert told in warnings, told
    assert (code, "problems: none" in out) == (0, True)


def test_a_plain_lora(check: Check, flags: list[str], dataset: Path) -> None:
    code, out, _ = check(*[flag for flag in flags if "--museum" not in flag], "--output_name=plain")
    assert (code, "none: a plain LoRA" in out, "plain.safetensors" in out) == (0, True, True)
    assert "grid" not in out


def test_a_small_picture_that_may_not_grow_is_named(check: Check, flags: list[str], tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "tiny.png", (16, 16))
    code, out, _ = check(*flags, "--enable_bucket", "--bucket_no_upscale", "--min_bucket_reso=64")
    assert (code, "tiny.png: a picture of 16x16" in out) == (1, True)


def test_layers_that_the_museum_does_not_have(check: Check, flags: list[str]) -> None:
    code, out, _ = check(*flags, "--network_args", "conv_dim=2")
    assert (code, "layers that this museum does not have" in out) == (1, True)


def test_numbers_for_blocks_that_the_base_does_not_have(check: Check, flags: list[str]) -> None:
    code, out, _ = check(*[flag for flag in flags if "--museum" not in flag], "--network_args", "block_dims=1,2")
    assert (code, "block_dims: found 2 numbers" in out) == (1, True)


def test_a_loss_that_the_base_cannot_be_trained_with(check: Check, flags: list[str]) -> None:
    code, out, _ = check(*flags, "--zero_terminal_snr", "--min_timestep=1000")
    assert (code, "zero_terminal_snr: only for base models that predict v" in out) == (1, True)
    assert "zero_terminal_snr: found true, but this museum knows styles taught with false" in out


def test_tokens_that_are_read_follow_the_flags(check: Check, flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "pictures" / "00.caption").write_text("(red:1.2) " * 60, encoding="utf-8")
    longer = ("--max_token_length=150",)
    counts = [json.loads(check(*flags, "--json", *more)[1])["styles"][0]["captions"] for more in ((), longer)]
    assert [found["token_limit"] for found in counts] == [75, 150]
    weighted = json.loads(check(*flags, "--json", "--weighted_captions")[1])["styles"][0]["captions"]
    assert weighted["most_tokens"] < counts[0]["most_tokens"]


def test_base_weights_must_fit_the_base(check: Check, flags: list[str], tmp_path: Path) -> None:
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    for name, key_ in (("wide", key), ("strange", "lora_unet_nowhere")):
        pair = {f"{key_}.lora_down.weight": torch.ones(2, 7), f"{key_}.lora_up.weight": torch.ones(5, 2)}
        save_file(pair, tmp_path / f"{name}.safetensors")
    plain = [flag for flag in flags if "--museum" not in flag]
    for name, told in (("wide", "changes a weight of shape (5, 7)"), ("strange", "none of its modules has a place")):
        code, out, _ = check(*plain, f"--base_weights={tmp_path / name}.safetensors")
        assert (code, told in out.partition("\nproblems: ")[2]) == (1, True)


def test_pictures_held_out_and_masks(check: Check, flags: list[str], tmp_path: Path) -> None:
    for number in range(5):
        draw(tmp_path / "masks" / f"{number:02d}.png", (128, 64) if number == 4 else (64, 64))
    file = tmp_path / "neon.toml"
    text = file.read_text(encoding="utf-8").replace("batch_size = 2", "batch_size = 2\nvalidation_split = 0.4")
    file.write_text(f"{text}conditioning_data_dir = 'masks'\n", encoding="utf-8")
    code, out, _ = check(*flags, "--masked_loss")
    assert (code, "3 (3 with 2 repeats); 2 held out for validation" in out) == (0, True)

    draw(tmp_path / "masks" / "00.png", (64, 16))
    (tmp_path / "masks" / "01.png").write_bytes(b"not a picture")
    (tmp_path / "masks" / "02.png").unlink()
    code, out, _ = check(*flags, "--masked_loss")
    assert (code, "has no mask for 02.png" in out) == (1, True)

    draw(tmp_path / "masks" / "02.png")
    code, out, _ = check(*flags, "--masked_loss")
    told = out.partition("\nproblems: ")[2]
    assert (code, told[0], "this mask of 64x16" in told, "masks/01.png: the picture is damaged" in told) == (
        1, "2", True, True,
    )  # fmt: skip
