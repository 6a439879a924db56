"""`benchmarks/forgetting.py` on the pocket model: all kinds of methods go through, and a broken run goes on."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import forgetting
from benchmarks.result import read_result, write_result
from tests.recipes.school import ROOT

FLAGS = (
    "train_batch_size=1", "resolution=64", "replay_per_style=1", "replay_neutral=1", "replay_sampling_steps=1",
    "sample_steps=1", "export_for=none",
)  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command, with one step of training and one picture for each score; returns what it prints."""
    monkeypatch.chdir(ROOT)

    def command(*words: str) -> str:
        given = ["--seeds=1", "--steps=1", "--pictures=1", f"--out={tmp_path}", *words, "--set", *FLAGS]
        monkeypatch.setattr(sys, "argv", ["forgetting", *given])
        forgetting.main()
        return capsys.readouterr().out

    return command


@pytest.mark.slow
def test_it_goes_through_and_goes_on(run, tmp_path: Path) -> None:
    methods = ["ewc", "separate"]

    printed = run("--styles=2", "--orders", "second", "--methods", *methods)

    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("method"))
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == methods
    assert {path.name for path in tmp_path.glob("*.*")} >= {"table.txt", "table.json", "plot.png"}
    results = {method: read_result(tmp_path / f"{method}-0-second.json") for method in methods}
    assert all(result.styles == ["blueprint", "ink"] for result in results.values())
    for method in methods:
        assert [len(row) for row in results[method].matrix] == [1, 2]
        assert len(results[method].confusion) == len(results[method].file_bytes) == 2
    separate = results["separate"]
    assert separate.matrix[1][0] == separate.matrix[0][0], "the first style's own file has not changed"
    assert separate.file_bytes[1] > 1.9 * separate.file_bytes[0]

    whole = results["ewc"]
    broken = replace(whole, matrix=whole.matrix[:1], no_trigger=whole.no_trigger[:1], confusion=whole.confusion[:1])
    broken = replace(broken, judged=whole.judged[:1], judged_drift=whole.judged_drift[:1], file_bytes=[1])
    write_result(broken, tmp_path / whole.name)
    (tmp_path / f"{whole.name}.json").unlink()
    run("--styles=2", "--orders", "second", "--methods", "ewc")
    again = read_result(tmp_path / f"{whole.name}.json")
    assert replace(again, file_bytes=[]) == replace(whole, file_bytes=[]), "nothing is taught twice"
    assert again.file_bytes == [1, whole.file_bytes[1]]

    with pytest.raises(SystemExit, match="give another --out"):
        run("--styles=3", "--orders", "second", "--methods", "ewc")
