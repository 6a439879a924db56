"""How pictures are shown, masked and held out, through the real command line."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from tests.recipes.school import School, difference, same, teach_here, tensors_of, write_pictures

Outcome = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="module")
def school(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> School:
    """Six pictures of `ink`, twice as wide as they are trained, and a mask of each."""
    folder = tmp_path_factory.mktemp("school")
    pictures = write_pictures(folder / "pictures" / "ink", "ink", 6)
    for number, path in enumerate(sorted(pictures.glob("*.png"))):
        image = Image.open(path).convert("RGB").resize((100, 70))
        mask = np.zeros((70, 100), dtype=np.uint8)
        mask[:, 20 + 5 * number : 60] = 255
        (folder / "masks").mkdir(exist_ok=True)
        Image.merge("RGB", [Image.fromarray(mask), image.getchannel("G"), image.getchannel("B")]).save(
            folder / "masks" / path.name
        )
        (folder / "alpha").mkdir(exist_ok=True)
        image.save(path)
        image.putalpha(Image.fromarray(mask))
        image.save(folder / "alpha" / path.name)
        shutil.copy(path.with_suffix(".txt"), folder / "alpha" / f"{path.stem}.txt")
    return School(tiny_base, folder / "pictures", folder)


@pytest.fixture(scope="module")
def outcome(school: School) -> Outcome:
    """What a plain LoRA run gives; equal runs run once. `extra` goes into the one subset, `dataset` above it."""
    known: dict[tuple[object, ...], dict[str, Tensor]] = {}

    def run(*flags: str, extra: str = "", dataset: str = "", folder: Path | None = None) -> dict[str, Tensor]:
        key = (flags, extra, dataset, folder)
        if key not in known:
            file = school.folder / "data.toml"
            file.write_text(
                f"[[datasets]]\n{dataset}\n[[datasets.subsets]]\n"
                f"image_dir = '{folder or school.pictures / 'ink'}'\n{extra}\n",
                encoding="utf-8",
            )
            shutil.rmtree(school.folder / "out", ignore_errors=True)
            words = school.command("--optimizer_type=SGD", *flags, f"--dataset_config={file}", museum=False)
            assert teach_here(words) == 0
            known[key] = tensors_of(school.museum)
        return known[key]

    return run


@pytest.mark.parametrize(
    "given",
    [
        {"extra": "resize_interpolation = 'nearest'"},
        {"dataset": "resize_interpolation = 'box'"},
        {"flags": "--resize_interpolation=bicubic"},
        {"extra": "conditioning_data_dir = 'masks'", "flags": "--masked_loss"},
        {"dataset": "validation_split = 0.34"},
        {"flags": "--validation_split=0.34"},
    ],
    ids=lambda given: " ".join(given.values()),
)
def test_a_setting_changes_what_is_trained(outcome: Outcome, given: dict[str, str]) -> None:
    flags = [given["flags"]] if "flags" in given else []
    changed = outcome(*flags, extra=given.get("extra", ""), dataset=given.get("dataset", ""))
    assert difference(changed, outcome()) > 1e-6


def test_alpha_is_a_mask_where_asked(school: School, outcome: Outcome) -> None:
    folder = school.folder / "alpha"
    in_file, by_flag = outcome(folder=folder, extra="alpha_mask = true"), outcome("--alpha_mask", folder=folder)
    assert same(in_file, by_flag)
    assert difference(in_file, outcome(folder=folder)) > 1e-6
    # the same masks from pictures of their own, over the same colours; they are resized a little differently
    apart = outcome("--masked_loss", extra="conditioning_data_dir = 'masks'")
    assert difference(in_file, apart) < 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "flip_aug = true\nconditioning_data_dir = 'masks'",
        "resize_interpolation = 'bilinear'",
    ],
)
def test_cached_latents_give_what_pictures_give(outcome: Outcome, settings: str) -> None:
    """Also without buckets, for pictures of another size than the resolution."""
    flags = ["--masked_loss"] if "conditioning" in settings else []
    plain = outcome(*flags, extra=settings)
    assert difference(outcome(*flags, "--cache_latents", extra=settings), plain) < 1e-7
    assert difference(outcome(*flags, "--cache_latents_to_disk", extra=settings), plain) < 1e-7


def test_neither_threads_nor_validation_change_a_number(outcome: Outcome) -> None:
    usual = outcome()
    assert same(outcome("--max_data_loader_n_workers=0"), usual)
    assert same(outcome("--max_data_loader_n_workers=5", "--persistent_data_loader_workers"), usual)
    held = outcome(dataset="validation_split = 0.34")
    for flag in ("--validate_every_n_steps=1", "--validate_every_n_epochs=1", "--max_validation_steps=1"):
        assert same(outcome(flag, dataset="validation_split = 0.34"), held)


def test_what_is_held_out_might_as_well_not_be_there(school: School, outcome: Outcome, tmp_path: Path) -> None:
    held = outcome(dataset="validation_split = 0.34\nvalidation_seed = 4")
    names = sorted(path.stem for path in (school.pictures / "ink").glob("*.png"))
    random.Random(4).shuffle(names)
    for name in names[:4]:
        for suffix in (".png", ".txt"):
            shutil.copy(school.pictures / "ink" / f"{name}{suffix}", tmp_path / f"{name}{suffix}")
    assert same(outcome(folder=tmp_path), held)


def test_the_validation_loss_is_shown_and_logged(
    school: School, outcome: Outcome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "museum"):
        flags = ("--validate_every_n_steps=2", "--log_with=tensorboard", f"--logging_dir={tmp_path}")
        outcome(*flags, dataset="validation_split = 0.34")
    said = [re.fullmatch(r"LoRA: validation loss ([\d.]+) after step (\d+)", line) for line in caplog.messages]
    losses = {int(match[2]): float(match[1]) for match in said if match}
    assert sorted(losses) == [2, 3]
    (events,) = tmp_path.rglob("events.out*")
    logged = EventAccumulator(str(events.parent))
    logged.Reload()
    values = {event.step + 1: event.value for event in logged.Scalars("LoRA/validation")}
    assert values == pytest.approx(losses, abs=1e-4)


def test_a_run_without_masks_says_that_masked_loss_does_nothing(
    outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    assert same(outcome("--masked_loss"), outcome())
    assert any(line.startswith("masked_loss: nothing is masked") for line in caplog.messages)
