"""The flags that users write are frozen: a change shows here and on the page, and is made on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.__main__ import main
from museum_plugin.cli.flag_page import PAGE, REWRITE, SURFACE, page, surface, topics
from museum_plugin.config.flags import FLAGS, NOT_HONOURED

ROOT = Path(__file__).parents[1]


def test_no_flag_changes_unnoticed() -> None:
    frozen, now = json.loads((ROOT / SURFACE).read_text(encoding="utf-8")), json.loads(surface())
    changed = sorted(name for name in {*frozen, *now} if frozen.get(name) != now.get(name))
    assert not changed, f"{', '.join(changed)}: if this is meant, `{REWRITE}` rewrites {SURFACE} and {PAGE}"


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(), f"`{REWRITE}` rewrites {PAGE}"


def test_the_page_has_every_flag_once() -> None:
    text = page()
    honoured, _, rest = text.partition("## Accepted but not honoured")
    assert [name for name in (flag.name for flag in FLAGS) if honoured.count(f"| `--{name}` |") != 1] == []
    assert [name for name in NOT_HONOURED if rest.count(f"| `--{name}` |") != 1] == []
    assert sum(len(members) for members in topics().values()) == len(FLAGS)


def test_defaults_types_and_choices_are_told() -> None:
    lines = page().splitlines()
    (precision,) = [line for line in lines if line.startswith("| `--mixed_precision` |")]
    assert "| text | `no` | `no`, `fp16`, `bf16` |" in precision
    (half,) = [line for line in lines if line.startswith("| `--full_fp16` |")]
    assert half == "| `--full_fp16` | bool | `false` |"


def test_one_command_writes_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(REWRITE.split()[3:]) == 0
    assert (tmp_path / PAGE).read_text(encoding="utf-8") == page()
    assert (tmp_path / SURFACE).read_text(encoding="utf-8") == surface()
    capsys.readouterr()
    assert main(["flags"]) == 0
    assert capsys.readouterr().out == page()
    assert main(["flags", "--json"]) == 0
    assert capsys.readouterr().out == surface()
