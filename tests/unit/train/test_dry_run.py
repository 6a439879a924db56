"""A step without numbers holds as many bytes as the same step with numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.lessons import first_lesson, run_config
from museum_plugin.base.folder import BaseOutline, empty_networks
from museum_plugin.base.frozen import tensors_of
from museum_plugin.base.live_bytes import LiveBytes, own_bytes
from museum_plugin.base.memory import fit_unet
from museum_plugin.base.outline import read_outline
from museum_plugin.config.schema import RunConfig
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.train.dry_run import DryRun, Subject
from museum_plugin.train.inputs import reader_for
from museum_plugin.train.loop import micro_step
from museum_plugin.train.record import style_record
from museum_plugin.train.setup import Classroom, Lesson

QUICK = ["--replay_sampling_steps=2", "--replay_neutral=4"]


def config(method: str, *flags: str) -> RunConfig:
    return run_config(method, 0, Path("unused"), "ink", [*QUICK, *flags])


@pytest.fixture(scope="module")
def outline() -> BaseOutline:
    return read_outline(config("museum").base)


def dry(run: RunConfig, outline: BaseOutline, subject: Subject) -> DryRun:
    return DryRun(run, outline, empty_networks(outline), subject)


def subject(pictures: int = 4, side: int = 128, bank: int = 128, ledger: Ledger | None = None) -> Subject:
    return Subject((side, side), pictures, (bank, bank), ("sks",), ledger)


@pytest.fixture(scope="module")
def small(outline: BaseOutline) -> DryRun:
    return dry(config("museum"), outline, subject())


@contextmanager
def lesson_of(run: RunConfig) -> Iterator[tuple[Classroom, Lesson]]:
    with first_lesson(run) as (room, lesson):
        fit_unet(room.museum.base.unet, run.base)
        yield room, lesson


def really_held(room: Classroom, lesson: Lesson) -> int:
    """Bytes at the peak of one real step on the processor."""
    museum: Museum = room.museum
    counted = LiveBytes("cpu")
    modules = (museum.base.unet, *museum.base.text_encoders, museum.network)
    counted.leave_out(tensor for module in modules for tensor in tensors_of(module))
    with counted:
        micro_step(room, lesson, reader_for(room, lesson), 0, 0)
    return counted.most


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("finetune", ()),
        ("museum", ()),
        ("museum", ("--gradient_checkpointing",)),
        ("paper", ("--train_batch_size=2", "--base_precision=fp8")),
    ],
)
def test_a_step_without_numbers_is_as_large_as_one_with_them(
    method: str, flags: tuple[str, ...], outline: BaseOutline
) -> None:
    run = config(method, *flags)
    with lesson_of(run) as (room, lesson):
        (size, pictures), words = lesson.dataset.largest_batch, room.museum.slots.slots[lesson.name].words
        real = really_held(room, lesson)
    found = dry(run, outline, Subject(size, pictures, size, words)).step()
    assert found == pytest.approx(real, rel=0.1)


@pytest.mark.parametrize("larger", [{"pictures": 8}, {"side": 256}, {"bank": 256}])
def test_the_step_grows_with_pictures_their_size_and_the_bank_s(
    larger: dict[str, int], small: DryRun, outline: BaseOutline
) -> None:
    assert dry(config("museum"), outline, subject(**larger)).step() > 1.1 * small.step()  # type: ignore[arg-type]


def test_what_the_method_keeps_is_counted_apart(small: DryRun, outline: BaseOutline) -> None:
    assert dry(config("finetune"), outline, subject()).kept == 0
    assert small.kept > 1_000_000
    assert dry(config("museum", "--replay_neutral=0"), outline, subject()).kept == 0  # no bank, no old style


def test_old_styles_are_told_by_the_ledger(outline: BaseOutline) -> None:
    run = config("ewc")
    known = dry(run, outline, subject()).museum.ledger
    with first_lesson(config("finetune")) as (room, lesson):
        taught = known.with_style(style_record(room, lesson, 1))
    first, second = dry(run, outline, subject()), dry(run, outline, subject(ledger=taught))
    lora = own_bytes(second.museum.network.parameters())
    assert first.kept < 10_000
    assert second.kept == pytest.approx(2 * lora, rel=0.01)  # where the LoRA was, and how much depends on it


def test_drawing_grows_with_what_is_drawn_at_once_and_keeps_no_graph(small: DryRun) -> None:
    one, eight = small.drawing(1), small.drawing(8)
    assert 6 * one < eight < 9 * one
    assert small.drawing(2) < small.step()  # four passes each: with guidance, and beside a bank


def test_nothing_is_left_behind(outline: BaseOutline) -> None:
    networks = empty_networks(outline)
    found = DryRun(config("museum", "--base_precision=int8"), outline, networks, subject())
    assert found.step() == found.step()
    assert all(parameter.grad is None for parameter in found.museum.network.parameters())
    assert type(networks.unet.get_submodule("conv_in")).__name__ == "Conv2d"
    assert not any("Frozen" in type(module).__name__ for module in networks.unet.modules())
