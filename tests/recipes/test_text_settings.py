"""Every flag about captions changes what is trained, and the rest of a run goes along with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.museum.file import read_museum
from tests.recipes.conftest import Outcome
from tests.recipes.school import School, difference, same, teach_here, tensors_of, write_pictures


@pytest.fixture(scope="module")
def folders(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `reg`, folders of counted folders, and `m.json` with captions for the pictures of `ink`."""
    folder = tmp_path_factory.mktemp("folders")
    write_pictures(folder / "train" / "1_ink", "ink")
    write_pictures(folder / "reg" / "1_picture", "neon")
    captions = {file.stem: {"caption": file.read_text(encoding="utf-8")} for file in (pictures / "ink").glob("*.txt")}
    (folder / "m.json").write_text(json.dumps(captions), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "flags",
    [
        ("--max_token_length=150",),
        ("--weighted_captions", "--caption_prefix=(blue:1.5)"),
        ("--enable_wildcard", "--caption_prefix={blue|green}"),
        ("--keep_tokens_separator=a", "--caption_separator= "),
        ("--secondary_separator=a",),
        ("--token_warmup_step=0.7", "--token_warmup_min=0"),
        ("--caption_dropout_every_n_epochs=1",),
    ],
    ids=lambda flags: " ".join(flags).replace("--", ""),
)
def test_a_flag_of_captions_changes_what_is_trained(outcome: Outcome, flags: tuple[str, ...]) -> None:
    plain = tuple(flag for flag in flags if flag.startswith("--caption_prefix"))
    assert difference(outcome(*flags), outcome(*plain)) > 1e-6


def test_a_warm_up_is_measured_in_steps_of_the_run(outcome: Outcome) -> None:
    """0.4 of three steps is one whole step, which is over when the second begins."""
    share, count = (outcome("--token_warmup_min=0", f"--token_warmup_step={n}") for n in ("0.4", "1"))
    assert same(share, count)
    assert difference(count, outcome("--token_warmup_min=0", "--token_warmup_step=2")) > 1e-6


def test_regularisation_pictures_count_by_their_weight(outcome: Outcome, folders: Path) -> None:
    own = f"--train_data_dir={folders / 'train'}"
    prior = f"--reg_data_dir={folders / 'reg'}"
    with_prior = outcome(own, prior)
    assert difference(with_prior, outcome(own)) > 1e-6
    assert difference(with_prior, outcome(own, prior, "--prior_loss_weight=0.1")) > 1e-6


def test_captions_of_a_metadata_file_teach_as_those_of_caption_files(
    tiny_base: Path, pictures: Path, folders: Path, tmp_path: Path, outcome: Outcome
) -> None:
    school = School(tiny_base, pictures, tmp_path)
    command = school.command(f"--train_data_dir={pictures / 'ink'}", f"--in_json={folders / 'm.json'}", museum=False)
    assert teach_here(command) == 0
    assert same(tensors_of(school.museum), outcome())


def test_a_museum_is_judged_and_replayed_with_the_text_it_learns_with(school: School) -> None:
    flags = ("--max_token_length=150", "--weighted_captions", "--sample_every_n_steps=2")
    assert teach_here(school.command(*flags, styles=("ink", "neon"))) == 0
    exhibition = read_museum(school.museum).ledger.extra["exhibition"]
    assert (exhibition["max_token_length"], exhibition["weighted_captions"]) == (150, True)
