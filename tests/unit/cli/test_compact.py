"""`compact`: smaller ranks with the loss told, by weights alone and on the base."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from museum_plugin.__main__ import main
from museum_plugin.cli.compact_on_base import least_below
from museum_plugin.judge.signature import signature
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.history import history
from museum_plugin.museum.latest_scores import changed_scores


@pytest.fixture
def judged(museum: Path) -> Path:
    """The museum with signatures of the tiny base's latents."""
    content, rng = read_museum(museum), torch.Generator().manual_seed(0)
    styles = tuple(
        replace(record, signature=signature(torch.randn(3, 4, 8, 8, generator=rng) * 2 + i).to_dict())
        for i, record in enumerate(content.ledger.styles)
    )
    write_museum(museum, replace(content, ledger=replace(content.ledger, styles=styles)), keep_history=0)
    return museum


def ranks(content: MuseumContent) -> set[int]:
    return {content.ledger.network.shape(key)[0] for key in content.ledger.network.targets}


def told_loss(out: str) -> float:
    found = re.search(r"lost of what the museum does: ([\d.]+) %", out)
    assert found
    return float(found[1]) / 100


def test_a_cap_by_weights_alone(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = museum.read_bytes()
    assert main(["compact", str(museum), "--rank=1", "--weights_only"]) == 0
    out = capsys.readouterr().out
    assert 0 < told_loss(out) < 1
    assert "2 -> 1" in out
    assert "teach it with --network_dim 1 --network_alpha 0.5" in out
    assert ranks(read_museum(museum)) == {1}
    assert history(museum)[-1].path.read_bytes() == before
    assert main(["rollback", str(museum)]) == 0
    assert museum.read_bytes() == before


def test_a_loss_by_weights_alone(museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, found = museum.read_bytes(), []
    for number, loss in enumerate((0.03, 0.2)):
        other = tmp_path / f"{number}.safetensors"
        assert main(["compact", str(museum), f"--loss={loss}", "--weights_only", f"--output={other}"]) == 0
        out = capsys.readouterr().out
        assert told_loss(out) <= loss
        assert "undo" not in out
        network = read_museum(other).ledger.network
        found.append(sum(network.shape(key)[0] for key in network.targets))
    assert found[0] > found[1]
    assert museum.read_bytes() == before


def test_on_the_base_it_is_measured_and_scored(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", str(judged), "--loss=0.1", "--gate=off"]) == 0
    out = capsys.readouterr().out
    assert 0 < told_loss(out) <= 0.1
    assert "of the base's predictions" in out
    assert re.search(r"ink +\d\.\d\d +\d\.\d\d", out)
    assert "no trigger: drift" in out
    content = read_museum(judged)
    assert ranks(content) == {1, 2}
    after, scores = changed_scores(content.ledger)
    assert (after, set(scores)) == ("after compact", {"ink", "dots"})


def test_a_museum_that_draws_worse_is_not_replaced(
    judged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = judged.read_bytes()
    monkeypatch.setattr("museum_plugin.train.rehearsal.objections", lambda *_: ["ink keeps 3 %"])
    assert main(["compact", str(judged), "--rank=1"]) == 8
    assert "so small a rank costs too much: ink keeps 3 %" in capsys.readouterr().err
    assert judged.read_bytes() == before
    beside = judged.with_name("mine.refused-1.safetensors")
    assert ranks(read_museum(beside)) == {1}
    monkeypatch.undo()
    assert main(["compact", str(judged), "--rank=1", "--gate=off"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--rank=2", "--weights_only"], 2, "no layer of this museum has a rank above 2"),
        (["--rank=2"], 2, "no layer of this museum has a rank above 2"),
        (["--loss=1e-9", "--weights_only"], 2, "no layer can lose a direction for so little"),
        (["--loss=1"], 2, "allowed: a number above 0 and below 1"),
        (["--loss=0"], 2, "allowed: a number above 0 and below 1"),
        (["--rank=1", "--loss=0.1"], 2, "not allowed with argument"),
        ([], 2, "one of the arguments --rank --loss is required"),
        (["--rank=1", "--weights_only", "--pretrained_model_name_or_path=x"], 2, "without the base model"),
        (["--rank=1", "--pretrained_model_name_or_path=x"], 4, "x"),
    ],
)
def test_mistakes_change_nothing(
    museum: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = museum.read_bytes()
    assert main(["compact", str(museum), *words]) == code
    assert told in capsys.readouterr().err
    assert museum.read_bytes() == before
    assert len(history(museum)) == 1


def test_a_museum_that_was_never_judged_is_told_so(museum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read_museum(museum)
    write_museum(museum, replace(content, ledger=replace(content.ledger, extra={})), keep_history=0)
    assert main(["compact", str(museum), "--rank=1"]) == 2
    assert "never judged" in capsys.readouterr().err


def test_a_museum_that_does_nothing_has_nothing_to_lose(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read_museum(judged)
    idle = {name: torch.zeros_like(tensor) if "lora_up" in name else tensor for name, tensor in content.lora.items()}
    ledger = replace(content.ledger, styles=tuple(replace(r, words=(), token_ids=()) for r in content.ledger.styles))
    write_museum(judged, MuseumContent(idle, {}, ledger), keep_history=0)
    assert main(["compact", str(judged), "--rank=1"]) == 2
    assert "nothing to compact" in capsys.readouterr().err


def test_the_search_finds_the_least_ranks_below_a_loss() -> None:
    def ranks_at(share: float) -> dict[str, int]:
        return {"a": round(100 * (1 - share))}

    seen = []

    def lost(ranks: dict[str, int]) -> float:
        seen.append(ranks["a"])
        return 4 * (1 - ranks["a"] / 100) ** 2

    found = least_below(ranks_at, lost, 0.25)  # exactly a quarter may go
    assert 75 <= found["a"] <= 78
    assert len(seen) == 8
    assert least_below(ranks_at, lambda _: 1.0, 0.25) == {"a": 100}
    assert least_below(ranks_at, lambda _: 0.0, 0.25)["a"] <= 1
