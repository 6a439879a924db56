"""The bar of a style."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.train import log
from museum_plugin.train.log import Progress, memory_text

CPU = torch.device("cpu")


def test_the_bar_shows_smoothed_terms_where_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("ink", 1, 4, CPU, visible=True)
    progress.update({"denoising": torch.tensor(1.0)}, show=True)
    progress.update({"denoising": torch.tensor(2.0), "function_lock": torch.tensor(0.5)}, show=False)
    assert progress.means() == pytest.approx({"denoising": 0.95 + 0.05 * 2, "function_lock": 0.5})
    progress.close()
    said = capsys.readouterr().err
    assert "ink" in said
    assert "denoising=1.000" in said
    assert "3/4" in said


def test_the_bar_of_a_resumed_run_goes_on_with_its_terms() -> None:
    smooth = {"denoising": torch.tensor(1.0)}
    progress = Progress("ink", 1, 4, CPU, visible=False, smooth=smooth)
    progress.update({"denoising": torch.tensor(2.0)}, show=False)
    progress.close()
    assert progress.means() == pytest.approx({"denoising": 0.95 + 0.05 * 2})
    assert smooth["denoising"].item() == pytest.approx(1.05)


def test_an_invisible_bar_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("ink", 0, 1, CPU, visible=False)
    progress.update({"denoising": torch.tensor(1.0)}, show=True)
    progress.close()
    assert capsys.readouterr().err == ""


def test_memory_is_told_where_the_system_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_text(CPU).endswith(" GiB")
    assert 0 < float(memory_text(CPU).split()[0]) < 1000
    monkeypatch.setattr(log, "resource", None)
    assert memory_text(CPU) == "?"
