"""Wrong flags, files, pictures and triggers: one short message, the right exit code, the museum as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes.conftest import Teach
from tests.recipes.mistakes import Refusal
from tests.recipes.school import TRIGGERS, School, write_dataset, write_pictures


@pytest.fixture
def spoilt(school: School) -> Path:
    """A folder of pictures of its own; `spoilt.toml` beside it teaches it."""
    folder = write_pictures(school.folder / "spoilt", "neon")
    write_dataset(school.folder / "spoilt.toml", {"neon": folder})
    return folder


def dataset_flag(spoilt: Path) -> tuple[str, ...]:
    return (f"--dataset_config={spoilt.with_suffix('.toml')}",)


def test_a_missing_folder(refused: Refusal, spoilt: Path) -> None:
    spoilt.rename(spoilt.with_name("moved"))
    refused("config", "spoilt.toml", "image_dir", str(spoilt), flags=dataset_flag(spoilt))


def test_a_folder_without_pictures(refused: Refusal, spoilt: Path) -> None:
    for picture in spoilt.glob("*.png"):
        picture.unlink()
    refused("data", str(spoilt), "no picture", ".png", flags=dataset_flag(spoilt))


@pytest.mark.parametrize("content", [None, b"", b"not a picture"], ids=["truncated", "empty", "text"])
def test_a_damaged_picture(refused: Refusal, spoilt: Path, content: bytes | None) -> None:
    picture = spoilt / "1.png"
    picture.write_bytes(picture.read_bytes()[:300] if content is None else content)
    refused("data", str(picture), "damaged", flags=dataset_flag(spoilt))


def test_a_caption_that_is_not_utf8(refused: Refusal, spoilt: Path) -> None:
    (spoilt / "2.txt").write_bytes("a café".encode("latin-1"))
    refused("data", "2.txt", "not UTF-8", "save it as UTF-8", flags=dataset_flag(spoilt))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("network_dimm = 4", ["network_dimm", 'did you mean "network_dim"?']),
        ("nothing_like_it = 1", ["nothing_like_it", "unknown"]),
        ('max_train_steps = "many"', ["max_train_steps", "'many'", "a whole number"]),
        ("learning_rate = [1, 2]", ["learning_rate", "a number"]),
        ("network_alpha = -1", ["network_alpha", "0"]),
        ("not toml", ["not valid TOML"]),
    ],
)
def test_a_config_file(refused: Refusal, school: School, line: str, named: list[str]) -> None:
    file = school.folder / "run.toml"
    file.write_text(line, encoding="utf-8")
    refused("config", "run.toml", *named, flags=(f"--config_file={file}",))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("num_repeat = 2", ["num_repeat", 'did you mean "num_repeats"?']),
        ("resolution = 64", ["resolution", "does not belong here"]),
        ('num_repeats = "often"', ["num_repeats", "a whole number"]),
    ],
)
def test_a_dataset_file(refused: Refusal, spoilt: Path, line: str, named: list[str]) -> None:
    file = spoilt.with_suffix(".toml")
    file.write_text(file.read_text(encoding="utf-8") + line, encoding="utf-8")
    refused("config", "spoilt.toml", "subsets[0]", *named, flags=dataset_flag(spoilt))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--network_train_unet_only", "--network_train_text_encoder_only"), ["keep one"]),
        (("--log_with=tensorboard",), ["--log_with", "--logging_dir"]),
        (("--mixed_precision=fp16",), ["fp16", "GPU", "bf16"]),
        (("--unet_lr=0", "--text_encoder_lr=0"), ["nothing to train"]),
        (("--clip_skip=9",), ["clip_skip", "9", "2"]),
        (("--method=museums",), ["museums", "finetune, paper, museum"]),
        (("--term_weights", "lock=1"), ["term_weights", "lock", "function_lock"]),
        (("--lr_scheduler=adafactor",), ["lr_scheduler", "adafactor", "cosine"]),
        (("--optimizer_type=AdamX",), ["optimizer_type", "AdamX", "AdamW8bit"]),
        (("--optimizer_type=LBFGS",), ["optimizer_type", "LBFGS"]),
        (("--optimizer_type=not_installed.Prodigy",), ["pip install not_installed"]),
        (("--optimizer_type=.Adam",), ["optimizer_type"]),
        (("--optimizer_args", "momentums=1"), ["optimizer_args", "momentums"]),
        (("--optimizer_args", "foreach=True", "fused=True"), ["optimizer_args", "fused"]),
        (("--lr_scheduler=polynomial", "--learning_rate=1e-9", "--slot_lr=1e-9"), ["lr_scheduler"]),
        (("--cache_latents", "--random_crop"), ["random_crop", "cache_latents"]),
        (("--slot_vectors=2",), ["1 words", "slot_vectors is 2"]),
        (("--maxtrainsteps=4",), ["maxtrainsteps", "max_train_steps"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_impossible_combination(refused: Refusal, flags: tuple[str, ...], named: list[str]) -> None:
    refused("config", *named, flags=flags)


def test_two_styles_need_a_museum(refused: Refusal) -> None:
    done = refused.teach(refused.school.command(styles=("ink", "neon"), museum=False))
    assert (done.code, len(done.errors)) == (2, 1)
    assert "--museum" in done.errors[0]


@pytest.mark.parametrize(
    ("trigger", "named"),
    [
        (TRIGGERS["ink"], ["exists already"]),
        (TRIGGERS["ink"].upper(), ["exists already"]),
        ("cat", ["ordinary word", "choose another word"]),
        (",", ["ordinary word"]),
        ("xqyzt", ["not one token"]),
        ("<|endoftext|>", ["not one token"]),
        ("zorvex quimbly", ["2 words", "slot_vectors is 1"]),
        ("auto", ["knows none of the 47 slot words"]),
    ],
)
def test_a_trigger_that_cannot_be(refused: Refusal, spoilt: Path, trigger: str, named: list[str]) -> None:
    file = spoilt.with_suffix(".toml")
    text = file.read_text(encoding="utf-8").replace(TRIGGERS["neon"], trigger)
    file.write_text(text, encoding="utf-8")
    refused("config", "trigger", *named, flags=dataset_flag(spoilt))


def test_a_bad_trigger_of_the_last_style_is_found_before_the_first_is_taught(refused: Refusal, school: School) -> None:
    file = school.dataset("neon", "ink")
    text = file.read_text(encoding="utf-8").replace('"ink"', '"other"').replace(TRIGGERS["ink"], "cat")
    file.write_text(text, encoding="utf-8")
    refused("config", "'cat' is an ordinary word", flags=(f"--dataset_config={file}",))


def test_a_style_that_exists_with_other_pictures(refused: Refusal, school: School) -> None:
    folder = write_pictures(school.folder / "more", "ink", count=5)
    file = write_dataset(school.folder / "more.toml", {"ink": folder})
    refused("config", "style 'ink'", "other pictures", "--style", "rollback", flags=(f"--dataset_config={file}",))


def test_a_wrong_run_loads_no_model(teach: Teach, school: School) -> None:
    """The mistake is found although the base model is not even there."""
    done = teach(school.command("--lr_scheduler=reduce_lr_on_plateau", "--pretrained_model_name_or_path=nowhere"))
    assert (done.code, len(done.errors)) == (2, 1)
    assert "reduce_lr_on_plateau" in done.errors[0]
