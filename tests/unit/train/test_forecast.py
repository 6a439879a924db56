"""The sum of a forecast, what each setting does to it, and which switches are flipped until a run fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from museum_plugin.base.folder import BaseOutline, empty_networks
from museum_plugin.base.load import load_base
from museum_plugin.base.outline import read_outline
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RunConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.train import blocks_to_swap
from museum_plugin.train.blocks_to_swap import with_blocks_counted, with_blocks_swapped
from museum_plugin.train.dry_run import Subject
from museum_plugin.train.forecast import DESKTOP, GAPS, OUTSIDE, Forecast, Forecaster, empty_copies, subject_of
from museum_plugin.train.memory_ladder import SWITCHES, next_switch, rungs
from museum_plugin.train.plan import PlannedStyle

SUBJECT = Subject((128, 128), 4, (128, 128), ("sks",))


def run_of(*flags: str) -> RunConfig:
    data = ("--dataset_config=examples/styles/ink.toml", "--museum=m.safetensors")
    return parse_command_line([*data, *flags])


@pytest.fixture(scope="module")
def outline() -> BaseOutline:
    return read_outline(run_of().base)


@pytest.fixture(scope="module")
def forecaster(outline: BaseOutline) -> Forecaster:
    return Forecaster(outline, empty_networks(outline), SUBJECT)


@pytest.fixture(scope="module")
def usual(forecaster: Forecaster) -> Forecast:
    return forecaster.forecast(run_of())


def test_the_peak_is_the_larger_of_a_step_and_what_comes_before() -> None:
    parts = {"unet": 100, "text": 20, "vae": 3, "trained": 4, "optimizer": 8, "kept": 5, "encoding": 40}
    step = Forecast(**parts, step=1000, drawing=60)
    assert step.held == 140
    assert step.training == 140 + 1050 + OUTSIDE == step.total
    assert GAPS == 0.05
    assert step.between == 140 + round(60 * (1 + GAPS)) + OUTSIDE
    assert replace(step, step=10).total == step.between
    assert replace(step, drawing=0).between == 124 + 42 + OUTSIDE  # no optimizer yet while pictures are encoded
    assert step.fits(step.total + DESKTOP)
    assert not step.fits(step.total + DESKTOP - 1)


def test_weights_are_counted_in_the_precision_they_lie_in(forecaster: Forecaster, usual: Forecast) -> None:
    numbers = sum(p.numel() for p in load_base(run_of().base.path).unet.parameters())
    assert usual.unet == pytest.approx(4 * numbers, rel=0.01)
    half = forecaster.forecast(run_of("--mixed_precision=bf16"))
    assert half.unet == pytest.approx(2 * numbers, rel=0.02)
    assert half.text == pytest.approx(usual.text / 2, rel=0.05)
    small = {name: forecaster.forecast(run_of(f"--base_precision={name}")).unet for name in ("fp8", "int8", "nf4")}
    assert small["nf4"] < small["fp8"] == small["int8"] < half.unet


@pytest.mark.parametrize(
    ("flags", "ratios"),
    [
        (("--network_dim=32", "--optimizer_type=Lion"), {"trained": 2.0, "optimizer": 1.0}),
        (("--network_args", "conv_dim=16"), {"trained": 2.6, "unet": 1.0}),
        (("--gradient_checkpointing",), {"step": 0.4, "unet": 1.0, "trained": 1.0}),
        (("--cpu_offload_checkpointing",), {"step": 0.36, "unet": 1.0}),
        (("--replay_apart",), {"step": 0.6, "kept": 1.0}),
        (("--replay_apart", "--gradient_checkpointing"), {"step": 0.23}),
        (("--method=finetune",), {"step": 0.6, "kept": 0.0}),
        (("--replay_batch_size=4",), {"step": 1.3, "kept": 1.0}),
        (("--mixed_precision=bf16",), {"step": 0.7, "trained": 1.0, "vae": 1.0}),
        (("--cache_latents", "--gradient_accumulation_steps=2"), {"vae": 0.0, "step": 1.02}),
    ],
)
def test_each_setting_changes_its_part(
    flags: tuple[str, ...], ratios: dict[str, float], forecaster: Forecaster, usual: Forecast
) -> None:
    found, before = forecaster.forecast(run_of(*flags)).parts(), usual.parts()
    assert {part: found[part] / before[part] for part in ratios} == pytest.approx(ratios, rel=0.15)


def test_fewer_pictures_take_less(forecaster: Forecaster, usual: Forecast) -> None:
    run = run_of()
    style = run.styles[0]
    one = replace(style, datasets=tuple(replace(dataset, batch_size=1) for dataset in style.datasets))
    assert forecaster.forecast(replace(run, styles=(one,))).step < 0.5 * usual.step


def test_training_the_text_encoder_keeps_its_activations(forecaster: Forecaster, usual: Forecast) -> None:
    found = forecaster.forecast(run_of("--text_encoder_lr=1e-4"))
    assert found.trained > usual.trained
    assert found.step > usual.step


def test_swapped_blocks_leave_the_card(forecaster: Forecaster, usual: Forecast) -> None:
    found = forecaster.forecast(run_of("--blocks_to_swap=10"))
    assert found.unet < 0.8 * usual.unet
    wanted = usual.total - (usual.unet - found.unet) + DESKTOP
    count = forecaster.blocks_to_swap(run_of(), wanted)
    assert count is not None
    assert 0 < count <= 10
    assert forecaster.forecast(run_of(f"--blocks_to_swap={count}")).fits(wanted)
    assert forecaster.blocks_to_swap(run_of(), usual.total + DESKTOP) == 0
    assert forecaster.blocks_to_swap(run_of(), OUTSIDE) is None


def test_a_loaded_base_gives_the_same_forecast_as_its_files(outline: BaseOutline, usual: Forecast) -> None:
    assert Forecaster(outline, empty_copies(load_base(outline.path)), SUBJECT).forecast(run_of()) == usual


def test_a_run_is_about_its_largest_batch() -> None:
    run = run_of()
    dataset = StyleDataset(run.styles[0])
    found = subject_of(run, [PlannedStyle(run.styles[0], dataset, ("sks",))], None)
    assert found == Subject((128, 128), 4, (128, 128), ("sks",))
    assert subject_of(run, [], None) is None


def test_switches_are_flipped_in_order_until_the_run_fits(forecaster: Forecaster, usual: Forecast) -> None:
    run = run_of()
    assert list(rungs(forecaster, run, usual.total + DESKTOP)) == []
    found = list(rungs(forecaster, run, OUTSIDE))
    sizes = [usual.total, *(rung.forecast.total for rung in found)]
    assert sizes == sorted(sizes, reverse=True)
    assert [rung.keeps_result for rung in found] == sorted((rung.keeps_result for rung in found), reverse=True)
    assert found[0].flag in ("--cache_latents", "--replay_apart")
    first = found[0].forecast.total
    assert len(list(rungs(forecaster, run, first + DESKTOP))) == 1


def test_the_next_switch_is_the_first_that_is_not_flipped() -> None:
    run, seen = run_of(), []
    while (found := next_switch(run, keeping_result=False)) is not None:
        flag, run = found
        seen.append(flag)
    assert seen == [
        "--cache_latents", "--replay_apart", "--gradient_checkpointing", "--cpu_offload_checkpointing",
        "--optimizer_type=AdamW8bit", "--mixed_precision=bf16", "--base_precision=fp8", "--train_batch_size=1",
        "--base_precision=nf4",
    ]  # fmt: skip
    assert len(SWITCHES) == len(seen)


def test_asked_to_keep_the_result_no_other_switch_is_flipped() -> None:
    run = run_of("--cache_latents", "--replay_apart", "--cpu_offload_checkpointing")
    assert next_switch(run, keeping_result=True) is None
    assert next_switch(run, keeping_result=False) is not None


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "--blocks_to_swap=12"),
        (("--blocks_to_swap=12",), "--blocks_to_swap=24"),
        (("--blocks_to_swap=auto",), "--blocks_to_swap=24"),
        (("--blocks_to_swap=24",), None),
        (("--torch_compile",), None),
    ],
)
def test_blocks_are_swapped_when_nothing_else_keeps_the_result(flags: tuple[str, ...], expected: str | None) -> None:
    run = run_of("--cache_latents", "--replay_apart", "--cpu_offload_checkpointing", *flags)
    found = next_switch(run, keeping_result=True, blocks=24)
    assert (found and found[0]) == expected
    assert next_switch(run, keeping_result=True) is None  # how many there are is not known


def test_latents_of_pictures_that_vary_are_not_cached() -> None:
    found = next_switch(run_of("--random_crop"), keeping_result=True)
    assert found is not None
    assert found[0] == "--replay_apart"


def test_a_run_without_a_bank_has_nothing_to_set_apart() -> None:
    plain = parse_command_line(["--dataset_config=examples/styles/ink.toml", "--output_dir=out", "--cache_latents"])
    for run in (run_of("--method=finetune", "--cache_latents"), plain):
        found = next_switch(run, keeping_result=True)
        assert found is not None
        assert found[0] == "--gradient_checkpointing"


def test_auto_is_the_least_number_that_fits(forecaster: Forecaster, usual: Forecast) -> None:
    run = run_of("--blocks_to_swap=auto")
    card = usual.total + DESKTOP - 3 * 2**20
    found = with_blocks_swapped(run, forecaster, card)
    assert found.base.blocks_to_swap == forecaster.blocks_to_swap(run, card)
    assert forecaster.forecast(found).fits(card)
    assert with_blocks_swapped(run, forecaster, card + 3 * 2**20).base.blocks_to_swap == 0
    assert with_blocks_swapped(run, forecaster, None).base.blocks_to_swap == 0
    assert with_blocks_swapped(run, None, card).base.blocks_to_swap == 0
    assert with_blocks_swapped(run, forecaster, OUTSIDE).base.blocks_to_swap == forecaster.swappable_blocks == 24


def test_the_memory_that_is_free_on_the_card_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("--blocks_to_swap=auto")
    datasets = [StyleDataset(style) for style in run.styles]

    def counted() -> int | str:
        return with_blocks_counted(run, datasets, torch.device("cpu")).base.blocks_to_swap

    assert counted() == 0, "there is no card here"
    monkeypatch.setattr(blocks_to_swap, "free_memory", lambda device: 2**40)
    assert counted() == 0
    monkeypatch.setattr(blocks_to_swap, "free_memory", lambda device: 2**20)
    assert counted() == 24


def test_a_number_stays_as_it_was_given(forecaster: Forecaster) -> None:
    run = run_of("--blocks_to_swap=5")
    assert with_blocks_swapped(run, forecaster, OUTSIDE) is run


def test_what_cannot_be_compiled_is_no_switch_of_a_run_that_compiles(forecaster: Forecaster) -> None:
    flags = [rung.flag for rung in rungs(forecaster, run_of("--torch_compile"), OUTSIDE)]
    assert not [flag for flag in flags if "swap" in flag or "base_precision" in flag]
    assert "--gradient_checkpointing" in flags
