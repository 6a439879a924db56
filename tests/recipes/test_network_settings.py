"""Every setting of the network changes what is trained, is recorded in the museum, and can be resumed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Outcome, Teach
from tests.recipes.school import School, difference, same, tensors_of
from tests.recipes.test_resume import Interrupt
from tests.recipes.test_resume import interrupt_in as interrupt_in

SCHEDULE_FREE = ("--optimizer_type=AdamWScheduleFree", "--max_train_steps=4")
DROPOUTS = ("--network_dropout=0.3", "--network_args", "rank_dropout=0.2", "module_dropout=0.2")


@pytest.mark.parametrize(
    "flags",
    [("--network_dropout=0.5",), ("--network_args", "rank_dropout=0.5"), ("--network_args", "module_dropout=0.5")],
    ids=lambda flags: flags[-1],
)
def test_dropout_changes_what_is_trained(outcome: Outcome, flags: tuple[str, ...]) -> None:
    assert difference(outcome(*flags), outcome()) > 1e-6


def test_dropout_draws_the_same_again_also_with_gradient_checkpointing(outcome: Outcome) -> None:
    usual = ("--optimizer_type=SGD", *DROPOUTS)
    assert same(outcome(*usual), outcome(*usual, "--seed=0"))
    assert difference(outcome(*usual, "--gradient_checkpointing"), outcome(*usual)) < 1e-7


def test_a_step_in_which_every_layer_is_left_out_changes_nothing(outcome: Outcome) -> None:
    trained = outcome("--network_args", "module_dropout=0.999999999")
    assert all(tensor.abs().max() == 0 for name, tensor in trained.items() if "lora_up" in name)


def test_convolutions_are_trained(outcome: Outcome) -> None:
    tensors = outcome("--network_args", "conv_dim=3", "conv_alpha=2")
    conv, plain = "lora_unet_mid_block_resnets_0_conv1", outcome()
    assert tensors[f"{conv}.lora_down.weight"].shape == (3, 16, 3, 3)
    assert tensors[f"{conv}.alpha"] == 2
    assert tensors[f"{conv}.lora_up.weight"].abs().max() > 0
    assert plain.keys() < tensors.keys()
    other = outcome("--network_args", "conv_dim=3", "conv_alpha=1")
    assert difference(tensors, other) > 1e-6


@pytest.mark.parametrize("method", ["museum", "paper"])
def test_a_museum_with_convolutions_and_dropout_goes_on_as_if_unbroken(
    school: School, teach: Teach, interrupt_in: Interrupt, tmp_path: Path, method: str
) -> None:
    flags = (f"--method={method}", *DROPOUTS, "conv_dim=3", "--term_weights", "feature_lock=1")
    unbroken = School(school.base, school.pictures, tmp_path / "unbroken")
    unbroken.folder.mkdir()
    assert teach(unbroken.command(*flags, styles=("ink", "neon"))).code == 0
    command = school.command(*flags, styles=("ink", "neon"))
    interrupt_in(signal.SIGINT, 5)

    assert teach(command).code == 130
    assert teach(command).code == 0

    assert same(school.numbers(), unbroken.numbers())
    record = read_museum(school.museum).ledger.network
    assert record.shape("lora_unet_mid_block_resnets_0_conv1") == (3, 1.0)
    told = read_museum(school.museum).ledger.styles[0].settings
    assert told["network_args"] == {"conv_dim": 3, "module_dropout": 0.2, "rank_dropout": 0.2}
    assert told["network_dropout"] == 0.3
    refused = teach(school.command(f"--method={method}", styles=("neon",)))
    assert refused.code == 5
    assert "give the network_args it was begun with: conv_dim=3" in refused.err


def test_schedule_free_pictures_and_saves_between_change_nothing(outcome: Outcome) -> None:
    pytest.importorskip("schedulefree")
    looking = ("--sample_every_n_steps=1", "--sample_at_first", "--save_every_n_steps=1", "--save_state")
    assert same(outcome(*SCHEDULE_FREE, *looking), outcome(*SCHEDULE_FREE))
    assert difference(outcome(*SCHEDULE_FREE), outcome("--max_train_steps=4")) > 1e-6


def test_a_schedule_free_run_goes_on_as_if_unbroken(
    school: School, teach: Teach, interrupt_in: Interrupt, tmp_path: Path
) -> None:
    pytest.importorskip("schedulefree")
    unbroken = School(school.base, school.pictures, tmp_path / "unbroken")
    unbroken.folder.mkdir()
    assert teach(unbroken.command(*SCHEDULE_FREE, "--save_every_n_steps=3")).code == 0
    between = tensors_of(unbroken.folder / "out" / "mine-step00000003.safetensors")
    interrupt_in(signal.SIGINT, 3)

    assert teach(school.command(*SCHEDULE_FREE, "--save_every_n_steps=3", "--save_state")).code == 130
    state = torch.load(school.checkpoint, weights_only=True)["lora"]
    assert teach(school.command(*SCHEDULE_FREE, "--save_every_n_steps=3")).code == 0

    assert same(school.numbers(), unbroken.numbers())
    saved = torch.load(school.folder / "out" / "mine-step00000003-state", weights_only=True)["lora"]
    assert same(saved, state), "a state holds what is trained"
    name = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"
    assert not torch.equal(between[name], state[name]), "what is saved between is the average, not what is trained"


@pytest.mark.parametrize(
    "flags",
    [
        ("--network_args", "loraplus_lr_ratio=4"),
        ("--network_args", "up_lr_weight=1,1,1,0.1,0.5"),
        ("--network_args", f"block_alphas={','.join(['3'] * 25)}", f"block_dims={','.join(['2'] * 25)}"),
        ("--use_8bit_adam", "--optimizer_args", "min_8bit_size=16"),
        ("--optimizer_type=Adafactor",),
        ("--lr_scheduler_type=ExponentialLR", "--lr_scheduler_args", "gamma=0.5"),
        ("--lr_scheduler=warmup_stable_decay", "--lr_decay_steps=0.7"),
    ],
    ids=lambda flags: " ".join(flags).replace("--", "")[:60],
)
def test_a_setting_of_the_optimizer_changes_what_is_trained(outcome: Outcome, flags: tuple[str, ...]) -> None:
    assert difference(outcome(*flags), outcome()) > 1e-6
