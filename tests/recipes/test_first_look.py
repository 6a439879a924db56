"""`check --forecast`: what a few steps tell before a style is taught."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from museum_plugin.__main__ import main
from museum_plugin.base.encode import encode_prompts
from museum_plugin.cli.check_first_look import spoken
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.train.loop import open_classroom
from museum_plugin.train.overlap import NUDGE, Overlap, first_gradients, moved_by, overlap_of
from museum_plugin.train.rehearsal import predictions
from museum_plugin.train.setup import Classroom, Lesson, begin_style
from tests.recipes.school import School

NEON = ("--gate=on", "--gate_extra_steps=1")
"""With a bank, whatever the method."""


def begun(school: School, held: ExitStack, *flags: str) -> tuple[Classroom, Lesson]:
    """The lesson in which a museum that knows `ink` would be taught `neon`."""
    run = parse_command_line(school.command(*NEON, *flags, styles=("neon",)))
    room, ((style, dataset),) = open_classroom(run, held)
    return room, begin_style(room, style, dataset)


def numbers(room: Classroom, lesson: Lesson) -> list[torch.Tensor]:
    trained = [*room.museum.network.parameters(), *room.museum.open_parameters(lesson.name)]
    return [parameter.detach().clone() for parameter in trained]


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, ...], dict[str, Any]]:
    """What was found before, by flags."""
    return {}


@pytest.fixture
def look(
    knows_ink: School, capsys: pytest.CaptureFixture[str], known: dict[tuple[str, ...], dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    """`check --forecast --json` of a lesson in `neon`; equal flags run once."""

    def run(*flags: str) -> dict[str, Any]:
        if flags not in known:
            capsys.readouterr()
            assert main(["check", "--forecast", "--json", *knows_ink.command(*flags, styles=("neon",))]) == 0
            known[flags] = json.loads(capsys.readouterr().out)
        return known[flags]

    return run


def test_nothing_is_changed_and_the_same_is_found_again(knows_ink: School) -> None:
    with ExitStack() as held:
        room, lesson = begun(knows_ink, held)
        before = numbers(room, lesson)
        first = overlap_of(room, lesson)
        assert all(torch.equal(*pair) for pair in zip(before, numbers(room, lesson), strict=True))
        assert all(parameter.grad is None for parameter in room.museum.network.parameters())
        assert overlap_of(room, lesson) == first
    assert set(first.moved) == set(first.effect) == {"no trigger", "ink"}
    assert all(math.isfinite(x) and x > 0 for x in (*first.moved.values(), *first.effect.values(), first.length))
    assert first.numbers == sum(parameter.numel() for parameter in room.museum.network.parameters())


def test_overlap_is_what_it_says_step_by_step(knows_ink: School) -> None:
    """Anchor by anchor, with the LoRA's numbers changed by hand: float64 sums of single predictions."""
    with ExitStack() as held:
        room, lesson = begun(knows_ink, held)
        museum, bank = room.museum, lesson.kept_bank
        assert bank is not None
        found, parameters = overlap_of(room, lesson), list(museum.network.parameters())
        signs = [gradient.sign() for gradient in first_gradients(room, lesson, parameters)]
        anchors = [anchor for anchor in bank.thinned(24) if bank.groups[anchor.group] == "ink"]

        @torch.no_grad()
        def seen() -> list[torch.Tensor]:
            states = [encode_prompts(museum.base, [anchor.prompt]) for anchor in anchors]
            pairs = zip(anchors, states, strict=True)
            return [room.denoiser.predict(a.noisy[None], torch.tensor([a.t]), text).double() for a, text in pairs]

        def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
            snr = [a / (1 - a) for a in (room.denoiser.alpha_bar(torch.tensor(x.t)).item() for x in anchors)]
            errors = [(a - b).square().mean().item() for a, b in zip(one, other, strict=True)]
            return sum(min(s, 5) / s * error for s, error in zip(snr, errors, strict=True)) / len(anchors)

        before = seen()
        with museum.disabled():
            bare = seen()
        length = sum(parameter.detach().double().square().sum().item() for parameter in parameters) ** 0.5
        step = NUDGE * length / sum(sign.double().square().sum().item() for sign in signs) ** 0.5
        with torch.no_grad():
            for parameter, sign in zip(parameters, signs, strict=True):
                parameter -= step * sign
        after = seen()
    assert found.length == pytest.approx(length, rel=1e-5)
    assert found.effect["ink"] == pytest.approx(apart(before, bare), rel=1e-3)
    assert found.moved["ink"] == pytest.approx(apart(after, before), rel=1e-2)


def test_the_first_gradients_are_those_of_the_pictures_alone(knows_ink: School) -> None:
    """No penalty has a part in them: they would be what keeps the old style."""

    def gradients(*flags: str) -> list[torch.Tensor]:
        with ExitStack() as held:
            room, lesson = begun(knows_ink, held, *flags)
            return first_gradients(room, lesson, list(room.museum.network.parameters()))

    plain, held_back = gradients("--method=finetune"), gradients("--method=museum")
    assert any(bool(gradient.any()) for gradient in plain)
    assert all(torch.equal(*pair) for pair in zip(plain, held_back, strict=True))
    other = gradients("--method=finetune", "--seed=3")
    assert not all(torch.equal(*pair) for pair in zip(plain, other, strict=True))


def test_every_part_counts_by_its_learning_rate(school: School) -> None:
    with ExitStack() as held:
        run = parse_command_line(school.command("--unet_lr=0.01", "--text_encoder_lr=0.005"))
        room, ((style, dataset),) = open_classroom(run, held)
        lesson = begin_style(room, style, dataset)
        found = overlap_of(room, lesson)
        sizes = {True: 0, False: 0}
        for key, layer in room.museum.network.layers.items():
            sizes[key.startswith("lora_unet_")] += sum(parameter.numel() for parameter in layer.parameters())
    assert sizes[False] > 0
    assert found.numbers == pytest.approx(sizes[True] + sizes[False] / 4)
    assert found.moved["no trigger"] > 0


def test_a_small_step_is_as_long_as_it_says_and_is_taken_back() -> None:
    parameters = [torch.tensor([3.0, 0.1]), torch.tensor([[4.0]])]
    before = [parameter.clone() for parameter in parameters]
    with moved_by(parameters, [torch.tensor([1.0, 0.0]), torch.tensor([[-2.0]])], 0.5):
        assert torch.equal(parameters[0], torch.tensor([3.5, 0.1]))
        assert torch.equal(parameters[1], torch.tensor([[3.0]]))
    assert all(torch.equal(*pair) for pair in zip(parameters, before, strict=True))
    with pytest.raises(KeyError), moved_by(parameters, parameters, 1.0):
        raise KeyError
    assert all(torch.equal(*pair) for pair in zip(parameters, before, strict=True))


def test_overlap_by_hand() -> None:
    found = Overlap({"ink": 0.02, "dots": 0.08}, {"ink": 0.5, "dots": 0.1}, length=2.0, numbers=9)
    assert (found.at_stake("ink"), found.at_stake("dots")) == pytest.approx((0.04, 0.8))


def test_it_says_how_long_it_takes_and_what_is_kept(look: Callable[..., dict[str, Any]]) -> None:
    found = look("--lr_scheduler=cosine")
    seen = found["first_look"]
    assert (seen["style"], seen["steps"]) == ("neon", 3)
    assert seen["seconds_a_step"] > 0
    assert "for neon: 3 steps of 0." in found["expected_time"]
    assert seen["seconds_before"] > 0
    assert "before them" in found["expected_time"]
    assert 0 <= seen["expected"]["keeps"]["ink"] <= 1
    assert set(seen["expected"]["ways"]) == {"half the learning rates or steps"}
    assert seen["overlap"]["ink"] > 0


@pytest.mark.parametrize(
    "more", [("--learning_rate=0.1",), ("--max_train_steps=30",), ("--method=finetune",), ("--lr_scheduler=constant",)]
)
def test_what_is_kept_depends_on_how_it_is_taught(look: Callable[..., dict[str, Any]], more: tuple[str, ...]) -> None:
    gentle = look("--lr_scheduler=cosine")["first_look"]["expected"]["keeps"]["ink"]
    assert look("--lr_scheduler=cosine", *more)["first_look"]["expected"]["keeps"]["ink"] < gentle


def test_what_is_drawn_for_the_look_alone_takes_no_time_of_the_run(look: Callable[..., dict[str, Any]]) -> None:
    found = look("--lr_scheduler=cosine", "--method=finetune")
    assert found["first_look"]["seconds_before"] is None
    assert "before them" not in found["expected_time"]


def test_a_gentler_way_is_named_only_where_it_is_needed(knows_ink: School, capsys: pytest.CaptureFixture[str]) -> None:
    ruinous = ("--method=finetune", "--learning_rate=1", "--max_train_steps=500")
    assert main(["check", "--forecast", *knows_ink.command(*ruinous, styles=("neon",))]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "what neon leaves of older styles, a forecast ink is expected to keep 0 %; overlap" in told
    assert "--method museum: every older style is then expected to keep" in told
    assert "a second museum" in told
    assert main(["check", "--forecast", *knows_ink.command("--learning_rate=1e-5", styles=("neon",))]) == 0
    assert "second museum" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told", "measured"),
    [
        (("--method=ewc",), "was not measured", True),
        (("--optimizer_type=SGD",), "how far SGD goes", True),
        (("--replay_per_style=0",), "replay_per_style is 0", False),
        (("--method=olora",), "what --method olora keeps was not measured", False),
    ],
)
def test_it_says_what_it_cannot_tell(
    look: Callable[..., dict[str, Any]], flags: tuple[str, ...], told: str, measured: bool
) -> None:
    seen = look(*flags)["first_look"]
    assert seen["expected"] is None
    assert told in seen["why_not"]
    assert bool(seen["overlap"]) is measured


def test_pictures_that_differ_in_every_step_can_be_looked_at(
    knows_ink: School, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = knows_ink.dataset("neon", extra="random_crop = true")
    assert main(["check", "--forecast", *knows_ink.command(f"--dataset_config={moving}", styles=("neon",))]) == 0
    assert "ink is expected to keep" in " ".join(capsys.readouterr().out.split())


def test_half_precision_finds_much_the_same(knows_ink: School) -> None:
    """What rounding moves is taken off: else it would be as much as the step itself."""

    def overlap(*flags: str) -> float:
        with ExitStack() as held:
            room, lesson = begun(knows_ink, held, *flags)
            found = overlap_of(room, lesson).at_stake("ink")
        AcceleratorState._reset_state(reset_partial_state=True)
        return found

    assert overlap("--mixed_precision=bf16") == pytest.approx(overlap(), rel=0.5)


def test_numbers_that_are_not_finite_are_told_as_a_warning(
    knows_ink: School, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*given: object, **more: object) -> torch.Tensor:
        return predictions(*given, **more) * torch.nan  # type: ignore[arg-type]

    monkeypatch.setattr("museum_plugin.train.overlap.predictions", damaged)
    assert main(["check", "--forecast", *knows_ink.command(styles=("neon",))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "warnings: 1" in out
    assert "is not finite" in out
    assert "expected to keep" not in out


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (5300, "88 min"), (7500, "2 h 5 min")]
)
def test_spoken_times(seconds: float, told: str) -> None:
    assert spoken(seconds) == told


def test_a_first_style_has_a_time_and_nothing_to_lose(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--forecast", *school.command()]) == 0
    out = capsys.readouterr().out
    assert "3 steps of 0." in out
    assert "there is no older style" in out
    assert not school.museum.parent.exists(), "something was written"


def test_nothing_is_written(knows_ink: School, tmp_path: Path) -> None:
    logs = ("--log_with=tensorboard", f"--logging_dir={tmp_path / 'logs'}")
    words = knows_ink.command("--cache_latents", "--cache_latents_to_disk", *logs, styles=("neon",))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["check", "--forecast", *words]) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
