"""Runs that start from another LoRA, or on a base with LoRAs merged in, or keep the norm of what they learn small."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from museum_plugin.__main__ import main
from museum_plugin.cli.check_report import examine
from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Outcome, Teach
from tests.recipes.school import School, difference, same

STILL = ("--learning_rate=1e-9", "--slot_lr=0", "--method=finetune", "--max_train_steps=1")
"""What is learned is next to nothing."""


@pytest.fixture
def other_lora(outcome: Outcome, tmp_path: Path) -> Callable[..., Path]:
    """A LoRA file that another run wrote; only the LoRA, as other programs write it."""

    def written(*flags: str) -> Path:
        path = tmp_path / "other.safetensors"
        save_file({name: tensor.clone() for name, tensor in outcome(*flags).items()}, path)
        return path

    return written


@pytest.fixture
def apart(school: School) -> School:
    """A school whose base no other test uses: merging changes it in memory."""
    base = school.folder / "own base"
    shutil.copytree(school.base, base)
    return School(base, school.pictures, school.folder)


def change(tensors: dict[str, Tensor], key: str) -> Tensor:
    down, up = (tensors[f"{key}.lora_{part}.weight"].flatten(1) for part in ("down", "up"))
    return tensors[f"{key}.alpha"] / len(down) * up @ down


KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize("museum", [False, True])
def test_a_run_starts_from_another_lora_and_keeps_its_change(
    school: School, teach: Teach, other_lora: Callable[..., Path], museum: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "museum")
    weights = other_lora("--network_alpha=1")
    command = school.command(*STILL, f"--network_weights={weights}", "--network_alpha=4", museum=museum)

    assert teach(command).code == 0

    found, given = school.numbers(), load_file(weights)
    assert found[f"{KEY}.alpha"] == 4
    torch.testing.assert_close(change(found, KEY), change(given, KEY), atol=1e-6, rtol=1e-3)
    assert change(given, KEY).abs().max() > 1e-4
    if museum:
        assert teach([*command, f"--dataset_config={school.dataset('ink', 'neon')}"]).code == 0
        assert "network_weights: not read, because" in caplog.text


def test_ranks_come_from_the_weights(school: School, teach: Teach, other_lora: Callable[..., Path]) -> None:
    weights = other_lora("--network_dim=3", "--network_args", "conv_dim=2", "conv_alpha=0.5")
    flags = (*STILL, f"--network_weights={weights}", "--dim_from_weights", "--network_dim=16")

    assert teach(school.command(*flags)).code == 0
    weights.unlink()
    assert teach(school.command(*flags, styles=("ink", "neon"))).code == 0

    record = read_museum(school.museum).ledger.network
    assert (record.rank, record.alpha) == (3, 3.0)
    assert record.shape("lora_unet_mid_block_resnets_0_conv1") == (2, 0.5)
    done = teach(school.command("--network_weights=gone.safetensors", museum=False))
    assert done.code == 2
    assert 'network_weights: no file "gone.safetensors"' in done.err


def test_merged_loras_change_the_base_and_stay_out_of_the_file(
    apart: School, teach: Teach, other_lora: Callable[..., Path]
) -> None:
    weights = other_lora("--network_args", "conv_dim=2")
    merged = ("--method=finetune", "--base_weights", str(weights), "--base_weights_multiplier", "0.5")

    assert teach(apart.command(*merged)).code == 0

    ledger = read_museum(apart.museum).ledger
    assert ledger.base.name == "own base + other * 0.5"
    assert not any("conv" in target for target in ledger.network.targets)
    with_weights = apart.numbers()
    order = [
        "sample",
        str(apart.museum),
        "--style=ink",
        "--prompt=a cat",
        "--steps=1",
        f"--out={apart.folder / 'drawn'}",
    ]
    assert main(order) == 0
    commands = [
        apart.command(*flags, styles=("ink", "neon"))
        for flags in (merged, ["--method=finetune"], [*merged[:-1], "0.25"])
    ]
    checked = [examine(command) for command in commands]
    assert (checked[0].problems, checked[0].warnings) == ((), ())
    done = [teach(command) for command in commands]
    assert [each.code for each in done] == [0, 5, 5]
    assert "taught on base model 'own base + other * 0.5'" in done[1].err
    for report, each in zip(checked[1:], done[1:], strict=True):
        assert [f"error: {problem}" for problem in report.problems] == each.errors
    apart.museum.unlink()
    assert teach(apart.command("--method=finetune")).code == 0
    assert difference(apart.numbers(), with_weights) > 1e-6


def test_norms_stay_below_the_limit(outcome: Outcome) -> None:
    limit = 2e-3
    limited, free = outcome(f"--scale_weight_norms={limit}"), outcome()
    keys = [name.removesuffix(".alpha") for name in free if name.endswith(".alpha")]
    assert max(change(free, key).norm().item() for key in keys) > 2 * limit
    assert max(change(limited, key).norm().item() for key in keys) <= limit * 1.001
    assert same(outcome("--scale_weight_norms=1000"), free)
