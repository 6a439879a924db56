"""Pictures that flags name, without a dataset file."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.folder_layout import read_folder_layout, read_sources
from museum_plugin.errors import ConfigError

DEFAULTS = {"resolution": (64, 64)}


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("img", "reg/3_picture", "train/10_ink style"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "img" / "m.jsonl").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def test_a_folder_of_counted_folders_is_one_style(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("2_dots", "notes", "0_none"):
        (tmp_path / "train" / name).mkdir()

    (style,) = read_folder_layout(Path("train"), {**DEFAULTS, "flip_aug": True})

    found = [(s.image_dir.name, s.num_repeats, s.class_tokens, s.flip_aug) for s in style.datasets[0].subsets]
    assert found == [("10_ink style", 10, "ink style", True), ("2_dots", 2, "dots", True)]
    assert "left out: 0_none, notes" in caplog.text


def test_regularisation_folders_stand_beside(caplog: pytest.LogCaptureFixture) -> None:
    (style,), origin = read_sources({"train_data_dir": Path("train"), "reg_data_dir": Path("reg")}, DEFAULTS)

    (dataset,) = style.datasets
    found = [(s.image_dir.name, s.num_repeats, s.class_tokens, s.is_reg) for s in dataset.subsets]
    assert found == [("10_ink style", 10, "ink style", False), ("3_picture", 3, "picture", True)]
    assert origin == Path("train")
    assert not caplog.records


def test_a_regularisation_folder_without_counted_folders_is_told(caplog: pytest.LogCaptureFixture) -> None:
    (style,) = read_folder_layout(Path("train"), DEFAULTS, prior=Path("img"))

    assert [s.is_reg for s in style.datasets[0].subsets] == [False]
    assert "--reg_data_dir img: no folder named <repeats>_<class tokens>; nothing of it is used" in caplog.text


@pytest.mark.parametrize(("folder", "image_dir"), [(Path("train"), Path("train")), (None, Path("img"))])
def test_a_metadata_file_is_one_style(folder: Path | None, image_dir: Path) -> None:
    values = {"in_json": Path("img/m.jsonl"), "train_data_dir": folder}

    (style,), origin = read_sources(values, {**DEFAULTS, "num_repeats": 4})

    (subset,) = style.datasets[0].subsets
    assert (subset.image_dir, subset.metadata_file, subset.num_repeats) == (image_dir, Path("img/m.jsonl"), 4)
    assert origin == (folder or Path("img/m.jsonl"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_data_dir": Path("gone")}, '--train_data_dir: no folder "gone"'),
        (
            {"train_data_dir": Path("img")},
            "--train_data_dir img: no folder named <repeats>_<class tokens>, such as 10_ink style",
        ),
        ({"train_data_dir": Path("train"), "reg_data_dir": Path("gone")}, '--reg_data_dir: no folder "gone"'),
        ({"in_json": Path("gone.json")}, '--in_json: no file "gone.json"'),
        ({"in_json": Path("img/m.jsonl"), "train_data_dir": Path("gone")}, '--train_data_dir: no folder "gone"'),
        (
            {},
            "no pictures to learn from: give --dataset_config (a .toml or .json file) or --train_data_dir",
        ),
    ],
)
def test_what_is_not_there_is_refused(values: dict[str, Path], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_sources(values, DEFAULTS)

    assert str(error.value) == message


def test_what_another_flag_overrules_is_told(caplog: pytest.LogCaptureFixture) -> None:
    read_sources({"in_json": Path("img/m.jsonl"), "reg_data_dir": Path("reg")}, DEFAULTS)

    assert caplog.messages == ["--reg_data_dir is ignored because --in_json is given"]
