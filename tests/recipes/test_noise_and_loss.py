"""Every noise and loss option changes what is trained, from the command line to the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from museum_plugin.base import denoiser
from museum_plugin.base.schedule import zero_terminal_snr
from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Teach
from tests.recipes.mistakes import Refusal
from tests.recipes.school import School, difference, same, teach_here, tensors_of
from tests.tiny_models import write_tiny_base

Outcome = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="session")
def v_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("v bases") / "tiny v", prediction_type="v_prediction")


@pytest.fixture(scope="module")
def outcome(tiny_base: Path, v_base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a plain LoRA run with more flags gives, on the base that predicts epsilon or v; equal runs go once."""
    known: dict[tuple[str, ...], dict[str, Tensor]] = {}

    def run(*flags: str, predicts: str = "epsilon") -> dict[str, Tensor]:
        if (predicts, *flags) not in known:
            school = School(v_base if predicts == "v" else tiny_base, pictures, tmp_path_factory.mktemp("plain"))
            assert teach_here(school.command(*flags, museum=False)) == 0
            known[(predicts, *flags)] = tensors_of(school.museum)
        return known[(predicts, *flags)]

    return run


@pytest.mark.parametrize(
    ("flag", "beside"),
    [
        ("--multires_noise_iterations=3", ()),
        ("--ip_noise_gamma=0.3", ()),
        ("--min_timestep=900", ()),
        ("--max_timestep=100", ()),
        ("--debiased_estimation_loss", ()),
        ("--v_pred_like_loss=0.5", ()),
        ("--loss_type=l1", ()),
        ("--loss_type=huber", ()),
        ("--loss_type=smooth_l1", ()),
        ("--noise_offset_random_strength", ("--noise_offset=0.5",)),
        ("--adaptive_noise_scale=0.5", ("--noise_offset=0.5",)),
        ("--multires_noise_discount=0.9", ("--multires_noise_iterations=3",)),
        ("--ip_noise_gamma_random_strength", ("--ip_noise_gamma=0.3",)),
        ("--huber_schedule=exponential", ("--loss_type=smooth_l1",)),
        ("--huber_schedule=constant", ("--loss_type=smooth_l1",)),
        ("--huber_c=0.5", ("--loss_type=smooth_l1",)),
        ("--huber_scale=3", ("--loss_type=smooth_l1", "--huber_schedule=constant")),
    ],
)
def test_an_option_changes_what_is_trained(outcome: Outcome, flag: str, beside: tuple[str, ...]) -> None:
    changed = outcome(*beside, flag)
    assert difference(changed, outcome(*beside)) > 1e-6
    assert all(bool(tensor.isfinite().all()) for tensor in changed.values())


@pytest.mark.parametrize("flag", ["--zero_terminal_snr", "--scale_v_pred_loss_like_noise_pred", "--min_snr_gamma=1"])
def test_an_option_for_v_changes_what_is_trained(outcome: Outcome, flag: str) -> None:
    changed = outcome(flag, predicts="v")
    assert difference(changed, outcome(predicts="v")) > 1e-6
    assert all(bool(tensor.isfinite().all()) for tensor in changed.values())


@pytest.mark.parametrize(
    "flags",
    [
        ("--noise_offset=0", "--multires_noise_iterations=0", "--ip_noise_gamma=0", "--v_pred_like_loss=0"),
        ("--min_timestep=0", "--max_timestep=1000", "--loss_type=l2", "--huber_c=0.4", "--multires_noise_discount=0.9"),
        ("--noise_offset_random_strength", "--ip_noise_gamma_random_strength", "--zero_terminal_snr=false"),
    ],
)
def test_options_that_front_ends_write_for_off_change_nothing_at_all(outcome: Outcome, flags: tuple[str, ...]) -> None:
    assert same(outcome(*flags), outcome())


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--zero_terminal_snr", ("zero_terminal_snr", "predict v", "tiny")),
        ("--scale_v_pred_loss_like_noise_pred", ("scale_v_pred_loss_like_noise_pred", "predict v")),
        ("--max_timestep=2000", ("max_timestep: found 2000", "1000 timesteps")),
        ("--adaptive_noise_scale=0.1", ("adaptive_noise_scale", "noise_offset")),
    ],
)
def test_what_cannot_be_is_refused(refused: Refusal, flag: str, named: tuple[str, ...]) -> None:
    refused("config", *named, flags=(flag,))


def test_bank_training_previews_and_verdict_share_the_rescaled_schedule(
    v_base: Path, pictures: Path, tmp_path: Path, teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    begin = denoiser.Denoiser.__init__

    def watched(self: denoiser.Denoiser, base: denoiser.BaseModel) -> None:
        begin(self, base)
        seen.append(base.alphas_cumprod)

    monkeypatch.setattr(denoiser.Denoiser, "__init__", watched)
    school = School(v_base, pictures, tmp_path)
    flags = ("--zero_terminal_snr", "--min_snr_gamma=5", "--sample_every_n_steps=2")
    done = teach(school.command(*flags, styles=("ink", "neon")))

    assert done.code == 0, done.err
    assert len(seen) > 4, "training, bank, previews and verdict each have one"
    assert all(schedule[-1] == 0 for schedule in seen)
    assert all(torch.equal(schedule, seen[0]) for schedule in seen)
    assert torch.equal(zero_terminal_snr(seen[0]), seen[0])
    ledger = read_museum(school.museum).ledger
    assert [record.settings["zero_terminal_snr"] for record in ledger.styles] == [True, True]
    assert all(bool(tensor.isfinite().all()) for tensor in school.numbers().values())


def test_a_museum_taught_on_another_schedule_is_told(
    v_base: Path, pictures: Path, tmp_path: Path, teach: Teach, caplog: pytest.LogCaptureFixture
) -> None:
    school = School(v_base, pictures, tmp_path)
    assert teach(school.command("--method=finetune", "--max_train_steps=1")).code == 0
    assert "another noise schedule" not in caplog.text
    flags = ("--method=finetune", "--max_train_steps=1", "--zero_terminal_snr")
    assert teach(school.command(*flags, styles=("neon",))).code == 0
    assert "another noise schedule" in caplog.text
