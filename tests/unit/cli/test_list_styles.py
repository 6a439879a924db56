"""`list`: what a line says, and that nobody waits for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from museum_plugin.cli.list_styles import kept_text, style_table
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.museum.file import read_ledger
from tests.unit.cli.museums import ROOT, museum_command


def test_a_line_for_each_style(museum: Path) -> None:
    done = museum_command("list", museum)
    assert (done.returncode, done.stderr) == (0, "")
    summary, heading, ink, dots = done.stdout.splitlines()
    size = f"{museum.stat().st_size / 1000:.3g} kB"
    assert summary == f"{museum}: 2 styles, base tiny (sd1, epsilon), rank 2, alpha 1, {size}"
    assert heading.split("  ")[0] == "#"
    assert ink.split() == ["1", "ink", "zorvex", "2026-03-01", "05:06", "401", "11", "0.60", "0.80", "75", "%"]
    assert dots.split() == ["2", "dots", "quimbly", "2026-03-02", "05:06", "402", "12", "0.75", "0.75", "new"]


def test_torch_is_not_loaded(museum: Path) -> None:
    source = (
        "import sys\nfrom museum_plugin.__main__ import main\n"
        f"assert main(['list', {str(museum)!r}]) == 0\n"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_quick_ledger_is_that_of_the_file(museum: Path) -> None:
    assert ledger_of(museum) == read_ledger(museum)


def test_scores_that_were_never_measured_are_a_dash(museum: Path) -> None:
    ledger = ledger_of(museum)
    ink, dots = ledger.styles
    line = style_table(replace(ledger, styles=(ink, replace(dots, scores={}))))[1]
    assert line.split()[-3:] == ["-", "0.80", "-"]


def test_a_museum_without_styles_has_no_table(museum: Path) -> None:
    assert style_table(replace(ledger_of(museum), styles=())) == []


@pytest.mark.parametrize(
    ("now", "learned", "share"),
    [(0.6, 0.8, "75 %"), (0.9, 0.8, "100 %"), (0.0, 0.0, "100 %"), (None, 0.8, "-"), (0.6, None, "-")],
)
def test_what_is_kept(now: float | None, learned: float | None, share: str) -> None:
    assert kept_text(now, learned) == share


def test_a_plain_lora_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import save_file

    plain = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(2)}, plain)
    assert main(["list", str(plain)]) == 5
    assert "without a museum ledger" in capsys.readouterr().err
