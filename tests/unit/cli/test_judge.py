"""`judge`: against which museum, with which training pictures, what is written and said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from museum_plugin.__main__ import main
from museum_plugin.cli.judge import images_of
from museum_plugin.errors import ConfigError
from museum_plugin.judge.signature import signature
from museum_plugin.museum.file import read_museum, write_museum
from museum_plugin.museum.history import history_folder


@pytest.fixture(scope="module")
def judged(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mine.safetensors with styles that can be measured, its history, and training pictures of ink."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(shelf, folder, dirs_exist_ok=True)
    path = folder / "mine.safetensors"
    for file in (path, *history_folder(path).iterdir()):  # each by itself: writing `path` would tidy its history
        content, rng, styles = read_museum(file), torch.Generator().manual_seed(3), []
        for record in content.ledger.styles:
            seen = signature(5 * torch.randn(3, 4, 8, 8, generator=rng))
            styles.append(replace(record, signature=seen.to_dict()))
        ledger = replace(content.ledger, styles=tuple(styles))
        write_museum(folder / "new.safetensors", replace(content, ledger=ledger), keep_history=0)
        (folder / "new.safetensors").replace(file)
    (folder / "ink").mkdir()
    for i in range(3):
        Image.new("RGB", (96, 64 + i), (80 * i, 10, 200)).save(folder / "ink" / f"{i}.png")
    (folder / "pictures.toml").write_text(
        '[[datasets]]\nresolution = 64\nstyle = "ink"\n[[datasets.subsets]]\nimage_dir = "ink"\nclass_tokens = "a"\n'
    )
    return path


def judge(museum: Path, out: Path, *words: str | Path) -> dict:
    assert main(["judge", str(museum), "--out", str(out), *map(str, words)]) == 0
    return json.loads((out / "mine-judge.json").read_text(encoding="utf-8"))


def test_it_measures_against_the_version_before(judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    told = judge(judged, tmp_path, "--images", judged.parent / "ink")
    assert told["before"] == "mine-0001.safetensors.bak"
    assert list(told["prediction_drift"]) == ["no trigger", "ink"]
    assert list(told["statistics_shift"]) == ["ink"]
    assert len(told["memorization"]["ink"]["ratios"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["drawing 12 pictures ...", told["verdict"][0]]
    assert [line.split()[1] for line in lines[-3:]] == [
        str(tmp_path / name) for name in ("mine.html", "mine-judge.json", "mine-judge.png")
    ]
    page = (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert "ink, before: a red cat" in page
    assert "Nearest training pictures" in page
    with Image.open(tmp_path / "mine-judge.png") as grid:
        assert grid.width > 4 * 64


def test_another_museum_and_the_same_numbers_again(judged: Path, tmp_path: Path) -> None:
    told = judge(judged, tmp_path / "a", "--before", judged, "--images", f"ink={judged.parent / 'pictures.toml'}")
    assert told["before"] == "mine.safetensors"
    assert {name: told["prediction_drift"][name] for name in ("ink", "dots")} == {"ink": 0.0, "dots": 0.0}
    assert set(told["learned"]) == {"ink", "dots"}
    assert list(told["memorization"]) == ["ink"]
    judge(judged, tmp_path / "b", "--before", judged, "--images", f"ink={judged.parent / 'pictures.toml'}")
    for name in ("mine-judge.json", "mine.html", "mine-judge.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_a_version_before_the_base_is_what_it_is_measured_against(judged: Path, tmp_path: Path) -> None:
    alone = tmp_path / "mine.safetensors"
    shutil.copy(judged, alone)
    told = judge(alone, tmp_path)
    assert told["before"] is None
    assert list(told["prediction_drift"]) == ["no trigger"]
    assert told["statistics_shift"] == {}
    assert told["learned"] == {"ink": 0.8}


def test_training_pictures_belong_to_a_style(tmp_path: Path) -> None:
    (tmp_path / "ink").mkdir()
    (tmp_path / "x=y").mkdir()
    assert images_of([str(tmp_path / "ink")], ["ink"]) == {"ink": tmp_path / "ink"}
    assert images_of([f"ink={tmp_path / 'x=y'}"], ["ink"]) == {"ink": tmp_path / "x=y"}
    assert images_of([f"dots={tmp_path}", f"ink={tmp_path}"], ["ink", "dots"]) == {"dots": tmp_path, "ink": tmp_path}
    with pytest.raises(ConfigError, match="allowed: STYLE=PATH for a style of this museum .ink"):
        images_of([f"inc={tmp_path}"], ["ink"])
    with pytest.raises(ConfigError, match="no folder or dataset file"):
        images_of(["ink=nowhere"], ["ink"])


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--before", "none.safetensors"], 5, "none.safetensors"),
        (["--logs", "nowhere"], 2, "--logs: there is no folder nowhere"),
        (["--images", "ink=nowhere"], 2, "no folder or dataset file"),
        (["--images", "nowhere"], 2, "allowed: STYLE=PATH"),
    ],
)
def test_mistakes_are_told_before_anything_is_drawn(
    judged: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["judge", str(judged), *words]) == code
    assert told in capsys.readouterr().err


def test_a_folder_without_pictures_is_refused(judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "ink").mkdir()
    assert main(["judge", str(judged), "--images", str(tmp_path / "ink")]) == 3
    assert "at least two are needed" in capsys.readouterr().err


def test_a_museum_that_was_never_judged_is_refused(museum: Path, capsys: pytest.CaptureFixture) -> None:
    content = read_museum(museum)
    write_museum(museum, replace(content, ledger=replace(content.ledger, extra={})), keep_history=0)
    assert main(["judge", str(museum)]) == 5
    assert "ever judged" in capsys.readouterr().err


def test_a_backbone_looks_at_the_pictures_too(judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    told = judge(judged, tmp_path, "--images", judged.parent / "ink", "--backbone", "efficientnet")["backbone"]
    assert told["name"] == "EfficientNet-lite0"
    assert list(told) == ["name", "no trigger", "ink", "dots"]
    assert told["ink"]["closeness"] is not None
    assert told["ink"]["moved"] is not None
    assert told["dots"]["closeness"] is told["dots"]["moved"] is None
    assert f"  ink         {told['ink']['closeness']:.2f} of the way to its pictures" in capsys.readouterr().out
    assert "by EfficientNet-lite0: " in (tmp_path / "mine.html").read_text(encoding="utf-8")


def test_a_backbone_that_is_not_there_is_told_before_anything_is_drawn(
    judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["judge", str(judged), "--out", str(tmp_path), "--backbone", "vgg"]) == 2
    out, err = capsys.readouterr()
    assert "--backbone: found 'vgg', allowed: efficientnet, or the folder of a CLIP model" in err
    assert "drawing" not in out
