"""Every flag that says how to train changes what is trained; every flag that only saves memory or time does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from museum_plugin.base.encode import token_embedding
from museum_plugin.base.load import load_base
from museum_plugin.train import blocks_to_swap, loop
from museum_plugin.train.setup import Classroom
from tests.recipes.conftest import Outcome
from tests.recipes.school import (
    TRIGGERS,
    School,
    difference,
    same,
    teach_here,
    write_dataset,
)


@pytest.mark.parametrize(
    "flags",
    [
        ("--seed=1",),
        ("--learning_rate=0.005",),
        ("--base_precision=nf4",),
        ("--max_train_steps=4",),
        ("--train_batch_size=1",),
        ("--gradient_accumulation_steps=2",),
        ("--network_alpha=1",),
        ("--noise_offset=0.1",),
        ("--min_snr_gamma=1",),
        ("--max_grad_norm=0.01",),
        ("--lr_scheduler=constant",),
        ("--lr_warmup_steps=2",),
        ("--optimizer_type=SGD",),
        ("--optimizer_type=AdamW8bit", "--optimizer_args", "min_8bit_size=16"),
        ("--optimizer_args", "weight_decay=1.0"),
        ("--mixed_precision=bf16",),
        ("--clip_skip=2",),
        ("--flip_aug",),
        ("--random_crop", "--resolution=48"),
        ("--caption_dropout_rate=1",),
        ("--caption_prefix=blue",),
    ],
    ids=lambda flags: " ".join(flags).replace("--", ""),
)
def test_a_flag_changes_what_is_trained(outcome: Outcome, flags: tuple[str, ...]) -> None:
    changed = outcome(*flags)

    assert difference(changed, outcome()) > 1e-6
    assert all(bool(tensor.isfinite().all()) for tensor in changed.values())


def test_the_same_command_gives_the_same_numbers(outcome: Outcome) -> None:
    assert same(outcome(), outcome("--seed=0"))


def test_the_rank_is_that_of_network_dim(outcome: Outcome) -> None:
    shapes = {tensor.shape[0] for name, tensor in outcome("--network_dim=3").items() if "lora_down" in name}
    assert shapes == {3}


def test_unet_lr_wins_over_learning_rate(outcome: Outcome) -> None:
    assert same(outcome("--unet_lr=0.005"), outcome("--learning_rate=0.5", "--unet_lr=0.005"))


def test_training_the_text_encoder_only_leaves_the_unet_alone(outcome: Outcome) -> None:
    trained = outcome("--network_train_text_encoder_only", "--text_encoder_lr=0.01")
    ups = {name: tensor.abs().max().item() for name, tensor in trained.items() if "lora_up" in name}
    assert {value == 0 for name, value in ups.items() if name.startswith("lora_unet_")} == {True}
    assert {value > 0 for name, value in ups.items() if name.startswith("lora_te_")} == {True}


def test_micro_steps_are_averaged(outcome: Outcome) -> None:
    """Their noise is another, so only the size of the step can be compared: it is not four times as large."""
    one, two = (
        outcome(
            "--optimizer_type=SGD", "--max_grad_norm=0", "--max_train_steps=1", f"--gradient_accumulation_steps={n}"
        )
        for n in (1, 4)
    )
    sizes = [sum(t.square().sum() for name, t in o.items() if "lora_up" in name).sqrt() for o in (one, two)]
    assert sizes[1] < 1.5 * sizes[0]


def test_no_step_reaches_over_the_end_of_an_epoch(outcome: Outcome) -> None:
    """An epoch has two batches; a step that might have five has these two, and their mean."""
    assert same(outcome("--gradient_accumulation_steps=5"), outcome("--gradient_accumulation_steps=2"))


@pytest.mark.parametrize(
    "flags",
    [
        ("--gradient_checkpointing",),
        ("--replay_apart",),
        ("--gradient_checkpointing", "--replay_apart"),
        ("--cpu_offload_checkpointing",),
        ("--cache_latents",),
        ("--cache_latents_to_disk",),
        ("--cache_latents", "--vae_batch_size=4"),
    ],
    ids=" ".join,
)
def test_a_flag_that_saves_memory_or_time_changes_nothing(outcome: Outcome, flags: tuple[str, ...]) -> None:
    # plain gradient descent: Adam's division would turn rounding into steps of full size
    assert difference(outcome("--optimizer_type=SGD", *flags), outcome("--optimizer_type=SGD")) < 1e-7


def test_the_channels_last_layout_changes_the_last_digits_only(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts, teach_style = [], loop.teach_style

    def looking(room: Classroom, *others: object) -> None:
        weight = room.museum.base.unet.mid_block.resnets[0].conv1.weight
        layouts.append(weight.is_contiguous(memory_format=torch.channels_last))
        teach_style(room, *others)

    monkeypatch.setattr(loop, "teach_style", looking)
    found = outcome("--optimizer_type=SGD", "--opt_channels_last")
    assert layouts == [True]
    assert difference(found, outcome("--optimizer_type=SGD")) < 1e-5


@pytest.mark.parametrize(
    "flags",
    [
        ("--save_every_n_steps=1",),
        ("--sample_every_n_steps=1",),
        ("--keep_history=0",),
        ("--xformers",),
        ("--base_precision=fp32",),
        ("--replay_neutral=7", "--slot_lr=1"),
    ],
    ids=" ".join,
)
def test_a_flag_that_only_writes_changes_nothing_at_all(outcome: Outcome, flags: tuple[str, ...]) -> None:
    assert same(outcome(*flags), outcome())


@pytest.mark.parametrize(
    "flags", [(), ("--base_precision=fp8", "--gradient_checkpointing"), ("--mixed_precision=bf16",)], ids=" ".join
)
def test_swapping_blocks_changes_nothing_at_all(outcome: Outcome, flags: tuple[str, ...]) -> None:
    assert same(outcome(*flags, "--blocks_to_swap=7"), outcome(*flags))


@pytest.fixture(scope="module")
def second_style(tiny_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a museum that knows `ink` holds after `neon` was taught with more flags; equal flags run once."""
    known: dict[tuple[str, ...], dict[str, Tensor]] = {}
    first: list[Path] = []

    def run(*flags: str) -> dict[str, Tensor]:
        if not first:
            school = School(tiny_base, pictures, tmp_path_factory.mktemp("first"))
            assert teach_here(school.command("--method=finetune", "--max_train_steps=6")) == 0
            first.append(school.museum)
        if flags not in known:
            school = School(tiny_base, pictures, tmp_path_factory.mktemp("second"))
            school.museum.parent.mkdir()
            shutil.copy(first[0], school.museum)
            assert teach_here(school.command(*flags, styles=("neon",))) == 0
            known[flags] = school.numbers()
        return known[flags]

    return run


@pytest.mark.parametrize(
    "flag",
    [
        "replay_per_style=3",
        "replay_limit=1",
        "replay_neutral=3",
        "replay_batch_size=3",
        "replay_sampling_steps=3",
        "replay_guidance=1.5",
    ],
)
def test_a_flag_of_the_bank_changes_what_is_trained(second_style: Outcome, flag: str) -> None:
    assert difference(second_style(f"--{flag}"), second_style()) > 1e-6


def test_as_many_blocks_are_swapped_as_the_card_has_no_room_for(
    second_style: Outcome, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_to_swap, "free_memory", lambda device: 2**20)
    assert same(second_style("--blocks_to_swap=auto"), second_style())
    assert "auto is 24 here" in caplog.text
    assert "forecast not to fit" in caplog.text


def test_a_whole_lesson_is_the_same_with_swapped_blocks(
    second_style: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    """Bank, teacher, previews, the verdict on the style, and the files are made with them as well."""
    flags = ("--sample_every_n_steps=1", "--save_every_n_steps=1")
    assert same(second_style("--blocks_to_swap=9", *flags), second_style())
    assert "blocks_to_swap: 9 of " in caplog.text


@pytest.mark.parametrize("groups", [("per_style",), ("neutral",), ("per_style", "neutral")])
def test_an_empty_group_of_the_bank_is_left_out(second_style: Outcome, groups: tuple[str, ...]) -> None:
    changed = second_style(*(f"--replay_{group}=0" for group in groups))
    assert difference(changed, second_style()) > 1e-6
    if len(groups) == 2:
        assert same(changed, second_style("--method=finetune")), "without a bank nothing is left of the method"


@pytest.mark.parametrize(
    ("method", "term"),
    [
        ("museum", "function_lock"),
        ("museum", "feature_lock"),
        ("paper", "style_distillation"),
        ("paper", "weight_regularization"),
        ("paper", "feature_regularization"),
    ],
)
def test_the_weight_of_a_term_changes_what_is_trained(second_style: Outcome, method: str, term: str) -> None:
    with_term, without = (
        second_style(f"--method={method}", "--term_weights", f"{term}={weight}") for weight in (50, 0)
    )
    assert difference(with_term, without) > 1e-6


@pytest.mark.parametrize("flag", ["slot_lr=0.1", "slot_init=style", "slot_init=cat"])
def test_a_flag_of_the_slot_changes_it(second_style: Outcome, flag: str) -> None:
    changed, usual = second_style("--method=finetune", f"--{flag}"), second_style("--method=finetune")
    assert difference({"": changed["slot neon"]}, {"": usual["slot neon"]}) > 1e-3
    assert torch.equal(changed["slot ink"], usual["slot ink"])


def test_a_slot_that_does_not_learn_stays_where_it_started(second_style: Outcome, tiny_base: Path) -> None:
    slot = second_style("--method=finetune", "--slot_init=style", "--slot_lr=0")["slot neon"]
    base = load_base(tiny_base)
    ids = base.tokenizers[0]("style", add_special_tokens=False).input_ids
    assert torch.equal(slot, token_embedding(base.text_encoders[0]).weight[ids].mean(dim=0, keepdim=True))


def test_a_slot_can_hold_several_vectors(school: School) -> None:
    dataset = write_dataset(school.folder / "two.toml", {"ink": school.pictures / "ink"})
    text = dataset.read_text(encoding="utf-8").replace(TRIGGERS["ink"], " ".join(TRIGGERS.values()))
    dataset.write_text(text, encoding="utf-8")

    code = teach_here(school.command("--method=finetune", "--slot_vectors=2", f"--dataset_config={dataset}"))

    assert code == 0
    slot = school.numbers()["slot ink"]
    assert slot.shape == (2, 16)
    assert not torch.equal(slot[0], slot[1])
