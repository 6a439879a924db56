"""Museums and bases that do not fit or are damaged, losses that are not finite, disks that are full."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from tests.recipes.conftest import Teach
from tests.recipes.mistakes import Refusal, changed_base, snapshot
from tests.recipes.school import School
from tests.tiny_models import write_tiny_base


def test_a_museum_of_another_base(refused: Refusal, tmp_path: Path) -> None:
    other = write_tiny_base(tmp_path / "other", seed=1)
    flags = (f"--pretrained_model_name_or_path={other}",)
    refused("museum", "mine.safetensors", "'tiny'", "'other'", "pretrained_model_name_or_path", flags=flags)


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--network_dim=4", ["network_dim 2, not 4", "give 2"]),
        ("--network_alpha=1", ["network_alpha 2, not 1"]),
        ("--text_encoder_lr=0.1", ["text encoder", "text_encoder_lr"]),
    ],
)
def test_a_museum_of_another_shape(refused: Refusal, flag: str, named: list[str]) -> None:
    refused("museum", "mine.safetensors", *named, flags=(flag,))


def _plain_lora(path: Path) -> None:
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, path, {"ss_network_dim": "2"})


def _wider(path: Path) -> None:
    content = read_museum(path)
    name = next(name for name in content.lora if name.endswith("lora_down.weight"))
    lora = {**content.lora, name: torch.zeros(2, 999)}
    write_museum(path, MuseumContent(lora, content.slots, content.ledger, content.metadata), keep_history=0)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "cut short or damaged"),
        (lambda path: path.write_bytes(os.urandom(5000)), "not a safetensors file"),
        (lambda path: path.write_bytes(b""), "not a safetensors file"),
        (_plain_lora, "a plain LoRA"),
        (_wider, "(2, 999)"),
    ],
    ids=["truncated", "random", "empty", "plain LoRA", "another shape"],
)
def test_a_damaged_museum(refused: Refusal, damage: Callable[[Path], object], named: str) -> None:
    damage(refused.school.museum)
    refused("museum", str(refused.school.museum), named)


def _break_json(base: Path) -> None:
    (base / "unet" / "config.json").write_text("{", encoding="utf-8")


def _cut_weights(base: Path) -> None:
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def _no_text_encoder(base: Path) -> None:
    shutil.rmtree(base / "text_encoder")


def _configure(part: str, name: str, key: str, value: object) -> Callable[[Path], None]:
    def change(base: Path) -> None:
        file = base / part / name
        file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), key: value}), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (shutil.rmtree, "no base model there"),
        (_break_json, "config.json"),
        (_cut_weights, "cannot be loaded"),
        (_no_text_encoder, "text_encoder is missing"),
        (_configure("unet", "config.json", "addition_embed_type", "text_time"), "text_encoder_2"),
        (_configure("scheduler", "scheduler_config.json", "prediction_type", "sample"), "'sample'"),
    ],
    ids=["missing", "broken JSON", "truncated", "no text encoder", "SDXL", "prediction type"],
)
def test_a_base_that_cannot_be_used(
    refused: Refusal, tiny_base: Path, tmp_path: Path, damage: Callable[[Path], object], named: str
) -> None:
    base = changed_base(tiny_base, tmp_path / "spoilt")
    damage(base)
    museum = f"--museum={tmp_path / 'new.safetensors'}"
    refused("base", named, flags=(f"--pretrained_model_name_or_path={base}", museum))


def test_parts_of_two_bases(refused: Refusal, tiny_base: Path, tmp_path: Path) -> None:
    base = changed_base(tiny_base, tmp_path / "mixed")
    config = CLIPTextConfig.from_pretrained(base / "text_encoder")
    config.hidden_size = 32
    CLIPTextModel(config).save_pretrained(base / "text_encoder")
    refused("base", "do not belong together", "16", "32", flags=(f"--pretrained_model_name_or_path={base}",))


def test_a_learning_rate_that_is_far_too_high(refused: Refusal) -> None:
    flags = ("--learning_rate=1e30", "--max_grad_norm=0", "--lr_scheduler=constant", "--optimizer_type=SGD")
    refused("training", "'neon'", "step 2", "not finite (denoising", ".png", "lower learning rate", flags=flags)


def test_a_vae_that_gives_no_numbers(refused: Refusal, tiny_base: Path, tmp_path: Path) -> None:
    base = changed_base(tiny_base, tmp_path / "infinite")
    file = base / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["encoder.conv_in.weight"][0] = float("inf")
    save_file(tensors, file, {"format": "pt"})
    refused("training", "0.png", "not finite", flags=(f"--pretrained_model_name_or_path={base}",))


def test_places_that_cannot_be_written(refused: Refusal, school: School) -> None:
    file = school.folder / "a file"
    file.write_text("", encoding="utf-8")
    for flags in (
        (f"--museum={file / 'mine.safetensors'}",),
        (f"--museum={school.folder}",),
        (f"--output_dir={file}",),
        ("--log_with=tensorboard", f"--logging_dir={file}"),
        (f"--museum={school.folder / ('x' * 300)}",),
    ):
        message = refused("output", "cannot be written", flags=flags)
        assert Path(flags[-1].partition("=")[2]).name in message


@pytest.fixture
def full_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the disk full for files whose name holds a text: their bytes cannot be flushed to it."""

    def arm(part: str) -> None:
        fsync = os.fsync

        def refuse(descriptor: int) -> None:
            if part in os.readlink(f"/proc/self/fd/{descriptor}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)

    return arm


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("part", [".mine.unfinished.pt.", ".mine.safetensors.", "-step0000", ".mine_000002_"])
def test_a_disk_that_is_full_while_saving(refused: Refusal, full_for: Callable[[str], None], part: str) -> None:
    full_for(part)
    refused("output", "No space left", flags=("--save_every_n_steps=2", "--sample_every_n_steps=2"))
    assert not list(refused.school.museum.parent.rglob("*.tmp"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_run_goes_on_where_the_disk_was_full(
    knows_ink: School, teach: Teach, full_for: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = knows_ink.command("--method=finetune", styles=("neon",))
    before = snapshot(knows_ink.museum)
    with monkeypatch.context():
        full_for(".mine.safetensors.")
        assert teach(command).code == 7
        assert snapshot(knows_ink.museum) == before
    monkeypatch.undo()

    done = teach(command)

    assert done.code == 0
    assert [record.name for record in read_museum(knows_ink.museum).ledger.styles] == ["ink", "neon"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("part", ["-grid.png", "-matrix.png"])
def test_a_full_disk_costs_no_more_than_a_picture(
    knows_ink: School, teach: Teach, full_for: Callable[[str], None], part: str
) -> None:
    full_for(part)

    done = teach(knows_ink.command("--method=finetune", styles=("neon",)))

    assert (done.code, len(done.errors)) == (7, 1)
    assert part in done.errors[0]
    assert [record.name for record in read_museum(knows_ink.museum).ledger.styles] == ["ink", "neon"]
    assert not knows_ink.checkpoint.exists()


@pytest.fixture
def small_files(refused: Refusal) -> Iterator[None]:
    """From now on no file may grow beyond 30 kB, as the system itself sees to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_file_that_may_not_grow(refused: Refusal) -> None:
    refused("output", "mine.unfinished.pt", "File too large", flags=("--method=finetune",))
