"""`show`: everything the ledger knows can be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.cli.show import museum_lines
from museum_plugin.cli.style_pages import matrix_lines, style_lines
from tests.unit.cli.museums import museum_command


def words_of(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_a_museum_is_shown(museum: Path) -> None:
    ledger = ledger_of(museum)
    done = museum_command("show", museum)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    rows = words_of(lines)
    for line in (
        ["id", f"{ledger.museum_id},", "format", "version", "1"],
        ["network", "rank", "2,", "alpha", "1,", "scale", "0.5"],
        ["modules", str(len(ledger.network.targets)), "in", "the", "U-Net,", "0", "in", "the", "text", "encoder"],
        ["two", "fish"],
        ["ink", "dots"],
        ["after", "ink", "0.80"],
        ["after", "dots", "0.60", "0.75"],
        ["kept", "now", "75", "%", "new"],
    ):
        assert line in rows
    assert ledger.base.fingerprint in done.stdout
    assert "2 prompts, clip_skip 1, guidance 3.0, height 64, seed 7, steps 2, width 64" in done.stdout
    assert "average forgetting 0.20, backward transfer -0.20" in done.stdout
    (version,) = rows[[line.strip() for line in lines].index("earlier versions") + 2 :]
    assert (version[0], version[3], version[4]) == ("1", "1", "ink")


def test_a_style_is_shown(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(museum), "--style", "ink"]) == 0
    text = capsys.readouterr().out
    for part in (
        "ink, 1 of 2",
        "zorvex = token",
        "2026-03-01 05:06 UTC, 401 steps, 11 pictures",
        "fingerprint print1",
        "museum, weights: denoising 1, function_lock 2.5",
        "covariance of 3 numbers, mean of 2 numbers",
        "a boat",
        "a tree",
        "not set       noise_offset",
    ):
        assert part in text
    rows = words_of(text.splitlines())
    assert ["after", "ink", "0.80", "100", "%"] in rows
    assert ["after", "dots", "0.60", "75", "%"] in rows
    assert ["network_dim", "2"] in rows
    assert "quimbly" not in text


def test_json_is_the_ledger(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = json.loads(ledger_of(museum).to_json())
    assert main(["show", str(museum), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ledger
    assert main(["show", str(museum), "--json", "--style", "dots"]) == 0
    assert json.loads(capsys.readouterr().out) == ledger["styles"][1]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_misspelt_style_is_told_the_nearest(
    museum: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(museum), "--style", "dosts", *more]) == 5
    assert "no style 'dosts' in this museum; did you mean \"dots\"?; it has: ink, dots" in capsys.readouterr().err


def test_fields_nobody_knows_are_shown(museum: Path) -> None:
    ledger = ledger_of(museum)
    ink, dots = ledger.styles
    ledger = replace(
        ledger,
        base=replace(ledger.base, extra={"hash": "ff"}),
        network=replace(ledger.network, extra={"dora": True}),
        styles=(replace(ink, extra={"curator": "Ada"}), dots),
        extra={"from_the_future": [1, 2]},
    )
    rows = words_of([*museum_lines(museum, ledger), *style_lines(ledger, "ink")])
    for line in (["from_the_future", "[1,", "2]"], ["hash", '"ff"'], ["dora", "true"], ["curator", "Ada"]):
        assert line in rows
    assert ["judged", "on", "nothing", "yet"] in rows


def test_an_empty_museum_is_shown(museum: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    museum.rename(alone)
    lines = museum_lines(alone, replace(ledger_of(alone), styles=(), extra={}))
    assert lines.count("  none yet") == 2
    assert f"  none is kept in {tmp_path / 'alone.history'}" in lines


def test_a_score_that_is_missing_is_a_dash_and_leaves_out_the_summary(museum: Path) -> None:
    ledger = ledger_of(museum)
    ink, dots = ledger.styles
    lines = matrix_lines(replace(ledger, styles=(replace(ink, scores={}), dots)))
    assert words_of(lines) == [
        ["ink", "dots"],
        ["after", "ink", "-"],
        ["after", "dots", "0.60", "0.75"],
        ["kept", "now", "-", "new"],
    ]


def test_a_style_without_settings_and_signature(museum: Path) -> None:
    ledger = ledger_of(museum)
    bare = replace(ledger.styles[0], settings={}, signature={}, weights={}, extra={})
    rows = words_of(style_lines(replace(ledger, styles=(bare,)), "ink"))
    assert ["signature", "none"] in rows
    assert ["as", "learned", "none"] in rows
    assert ["method", "museum"] in rows
    assert rows[-2:] == [["settings"], ["none"]]


def test_a_value_without_end_is_cut(museum: Path) -> None:
    ledger = ledger_of(museum)
    long = replace(ledger.styles[0], settings={"optimizer_args": ["x" * 5000]})
    text = "\n".join(style_lines(replace(ledger, styles=(long,)), "ink"))
    assert "xxx..." in text
    assert len(text) < 1500
