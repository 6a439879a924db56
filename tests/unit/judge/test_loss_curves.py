"""The curves of losses out of real event files."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from museum_plugin.judge.loss_curves import read_loss_curves, thinned


def test_losses_are_read_by_style_and_term(tmp_path: Path) -> None:
    for run, steps in (("a", (0, 10)), ("b", (10, 20))):
        with SummaryWriter(str(tmp_path / run)) as log:
            for step in steps:
                log.add_scalar("ink/denoising", step / 100 + (run == "b"), step)
                for other in ("ink/learning_rate", "ink/score", "ink/kept/dots", "loose"):
                    log.add_scalar(other, 1.0, step)
    found = read_loss_curves(tmp_path)
    assert list(found) == ["ink"]
    assert list(found["ink"]) == ["denoising"]
    assert [(step, round(value, 3)) for step, value in found["ink"]["denoising"]] == [(0, 0.0), (10, 1.1), (20, 1.2)]
    assert read_loss_curves(tmp_path / "none") == {}


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    curve = [(float(i), 0.0) for i in range(1001)]
    short = thinned(curve, 200)
    assert len(short) <= 200
    assert short[-1] == curve[-1]
    assert thinned(curve[:200], 200) == curve[:200]
