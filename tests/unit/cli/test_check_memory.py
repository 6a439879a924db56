"""`check`: what a run will need of a card's memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from tests.tiny_models import TINY_SLOT_WORDS
from tests.unit.cli.museums import flags_of_a_new_style
from tests.unit.data.drawn import draw_folder

Check = Callable[..., tuple[int, str, str]]
STYLE = f'style = "neon"\ntrigger = "{TINY_SLOT_WORDS[2]}"\n'


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Run it: exit code, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["check", *words])
        spoken = capsys.readouterr()
        return code, spoken.out, spoken.err

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    draw_folder(tmp_path / "pictures", [(64, 64)] * 4)
    file = tmp_path / "neon.toml"
    text = "resolution = 64\nbatch_size = 2\n[[datasets.subsets]]\nimage_dir = 'pictures'\n"
    file.write_text(f"[[datasets]]\n{STYLE}{text}", encoding="utf-8")
    return file


@pytest.fixture
def flags(tiny_base: Path, museum: Path, dataset: Path, tmp_path: Path) -> list[str]:
    return flags_of_a_new_style(tiny_base, museum, dataset, tmp_path / "out")


def memory(out: str) -> str:
    """The part of the page about a card, in one line."""
    return " ".join(out.split("memory on a card, a forecast")[1].split("warnings:")[0].split())


def test_it_forecasts_what_a_card_needs(check: Check, flags: list[str]) -> None:
    code, out, _ = check(*flags, "--vram=8")
    told = memory(out)
    assert code == 0
    assert "a step 0.5" in told
    assert "U-Net 0.00" in told
    assert "more than plain fine-tuning" in told
    assert "card 8 GiB: 7.80 GiB for this run, which fits" in told
    assert "switch" not in told


def test_it_says_which_switches_to_flip(check: Check, flags: list[str]) -> None:
    _, out, _ = check(*flags, "--vram=0.1")
    told = memory(out)
    assert "which does not fit" in told
    assert "even so it does not fit" in told


def test_without_a_card_it_says_how_to_ask(check: Check, flags: list[str]) -> None:
    _, out, _ = check(*flags)
    assert "--vram 8 asks about one of 8 GiB" in memory(out)


def test_the_forecast_as_json(check: Check, flags: list[str]) -> None:
    _, out, _ = check(*flags, "--vram=8", "--json")
    found = json.loads(out)["memory"]
    assert found["total"] == max(found["training"], found["before"])
    assert found["training"] == pytest.approx(sum(found["parts"].values()) + found["step"], abs=0.05)
    assert (found["card"], found["fits"], found["switches"]) == ("8 GiB", True, [])


def test_a_plain_lora_needs_nothing_to_hold_old_styles(check: Check, flags: list[str], dataset: Path) -> None:
    dataset.write_text(dataset.read_text().replace(STYLE, ""))
    code, out, _ = check(*(flag for flag in flags if "--museum=" not in flag))
    assert code == 0
    assert "plain fine-tuning" not in memory(out)


def test_what_would_be_refused_is_not_forecast(check: Check, flags: list[str]) -> None:
    _, out, _ = check(*flags, "--network_dim=4")
    assert "memory on a card" not in out


def test_a_card_has_a_size(check: Check, flags: list[str]) -> None:
    code, _, err = check(*flags, "--vram=large")
    assert code == 2
    assert "allowed: a number, 0 or more" in err
