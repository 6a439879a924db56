"""What a run writes besides the museum: files in between, previews, logs, history."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from museum_plugin.museum.file import read_museum
from museum_plugin.museum.history import history
from tests.recipes.conftest import Teach
from tests.recipes.school import School, same, tensors_of, write_dataset


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_in_between(school: School, teach: Teach) -> None:
    done = teach(school.command("--method=finetune", "--save_every_n_steps=2", "--max_train_steps=5"))

    folder = school.museum.parent
    assert done.code == 0
    between = {name for name in names(folder) if "-step" in name}
    assert between == {"mine-step00000002.safetensors", "mine-step00000004.safetensors"}
    early = read_museum(folder / "mine-step00000002.safetensors")
    assert [(record.name, record.steps) for record in early.ledger.styles] == [("ink", 2)]
    assert not same(early.lora, read_museum(school.museum).lora)
    assert not school.checkpoint.exists()


def test_files_in_between_of_a_plain_lora(school: School, teach: Teach) -> None:
    assert teach(school.command("--save_every_n_steps=2", museum=False)).code == 0

    assert names(school.museum.parent) == {"mine.safetensors", "mine-step00000002.safetensors"}


def test_previews(school: School, teach: Teach) -> None:
    prompts = school.folder / "own prompts.txt"
    prompts.write_text("a red cat --w 64\n# a comment\na {style} fish\n", encoding="utf-8")
    flags = ["--sample_every_n_steps=2", f"--sample_prompts={prompts}", "--seed=7"]

    assert teach(school.command("--method=finetune", *flags)).code == 0

    folder = school.museum.parent / "sample"
    assert all(re.fullmatch(r"mine_000002_0[01]_20\d{12}_[78]\.png", name) for name in names(folder))
    first, second = sorted(folder.iterdir())
    assert (first.stem[-1], second.stem[-1]) == ("7", "8")
    with Image.open(first) as picture:
        assert picture.size == (64, 64)
    exhibition = read_museum(school.museum).ledger.extra["exhibition"]
    assert exhibition["prompts"] == ["a red cat", "a {style} fish"]


def test_a_preview_prompt_may_have_settings_of_its_own(school: School, teach: Teach) -> None:
    prompts = school.folder / "own prompts.txt"
    prompts.write_text("a red cat\na red cat --w 128 --d 5 --ss euler_a --s 2 --n blue\n", encoding="utf-8")
    flags = ["--sample_at_first", "--sample_every_n_epochs=1", f"--sample_prompts={prompts}"]

    assert teach(school.command("--method=finetune", *flags, "--max_train_epochs=1")).code == 0

    found = sorted((school.museum.parent / "sample").iterdir())
    assert [re.sub("_20\\d{12}_", "_", path.name) for path in found] == [
        "mine_e000000_00_0.png",
        "mine_e000000_01_5.png",
        "mine_e000001_00_0.png",
        "mine_e000001_01_5.png",
    ]
    with Image.open(found[0]) as usual, Image.open(found[1]) as own:
        assert (usual.size, own.size) == ((64, 64), (128, 64))
    assert found[1].read_bytes() != found[3].read_bytes(), "the museum has learned"


def test_logs_for_tensorboard(school: School, teach: Teach) -> None:
    logs = school.folder / "logs"
    flags = ["--log_with=tensorboard", f"--logging_dir={logs}", "--max_train_steps=11", "--optimizer_type=SGD"]

    assert teach(school.command(*flags)).code == 0

    (file,) = [path for path in logs.rglob("events.out.tfevents.*")]
    events = EventAccumulator(str(file.parent)).Reload()
    assert set(events.Tags()["scalars"]) == {
        "ink/denoising",
        "ink/function_lock",
        "ink/feature_lock",
        "ink/learning_rate",
    }
    assert [event.step for event in events.Scalars("ink/denoising")] == [0, 10]
    assert all(0.1 < event.value < 10 for event in events.Scalars("ink/denoising"))


def header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_what_the_user_says_stands_in_the_header_and_no_secret(school: School, teach: Teach) -> None:
    texts = {"title": "Inks", "author": "Ann", "description": "D", "license": "CC0", "tags": "ink, wash"}
    texts |= {"usage_hint": "zorvex", "merged_from": "A, B", "trigger_phrase": "a zorvex", "preprocessor": "none"}
    texts |= {"is_negative_embedding": "false", "thumbnail": "data:image/png;base64,iVBORw0KGgo="}
    flags = [f"--metadata_{name}={text}" for name, text in texts.items()]
    flags += ["--training_comment=first", "--save_every_n_steps=2", "--save_precision=fp16", "--no_metadata"]

    assert teach(school.command("--method=finetune", "--wandb_api_key=k3y-of-wandb", "--save_state", *flags)).code == 0

    museum = header(school.museum)
    assert {name: museum[f"modelspec.{name}"] for name in texts} == texts
    assert museum["ss_training_comment"] == "first"
    assert json.loads(museum["ss_dataset_dirs"]) == {"ink": {"img_count": 4, "n_repeats": 1}}
    (dataset,) = json.loads(museum["ss_datasets"])
    told = {"batch_size_per_device": 2, "num_train_images": 4, "num_reg_images": 0, "resolution": [64, 64]}
    assert {name: dataset[name] for name in told} == told
    (subset,) = dataset["subsets"]
    assert (subset["image_dir"], subset["img_count"], subset["keep_tokens"]) == ("ink", 4, 0)
    assert str(school.pictures) not in museum["ss_datasets"]
    assert {t.dtype for t in load_file(school.museum).values()} == {torch.float32}
    between = school.museum.parent / "mine-step00000002.safetensors"
    assert not {"museum", "ss_training_comment", "modelspec.author"} & set(header(between))
    assert torch.float16 in {t.dtype for t in load_file(between).values()}
    for path in school.museum.parent.rglob("*"):
        assert path.is_dir() or b"k3y-of-wandb" not in path.read_bytes()
    assert teach(school.command("--method=finetune", styles=("neon",))).code == 0
    assert header(school.museum)["modelspec.author"] == "Ann", "what was said once stays"


def test_a_plain_lora_in_half_precision(school: School, teach: Teach) -> None:
    assert teach(school.command("--save_precision=bf16", "--no_metadata", museum=False)).code == 0
    assert torch.bfloat16 in {t.dtype for t in load_file(school.museum).values()}
    assert "museum" not in header(school.museum)


def test_logs_of_several_runs_lie_apart_where_they_have_a_prefix(school: School, teach: Teach) -> None:
    logs = school.folder / "logs"
    flags = ["--log_with=tensorboard", f"--logging_dir={logs}", "--log_prefix=ink-", "--log_tracker_name=tracker"]

    assert teach(school.command(*flags, museum=False)).code == 0

    (file,) = logs.rglob("events.out.tfevents.*")
    assert re.fullmatch(r"ink-20\d{12}", file.relative_to(logs).parts[0])
    assert "tracker" in file.relative_to(logs).parts


def test_settings_go_into_the_logs_where_asked_for(school: School, teach: Teach) -> None:
    logs = school.folder / "logs"
    (school.folder / "logs.toml").write_text("[tensorboard]\nfilename_suffix = '.mine'\n", encoding="utf-8")
    flags = ["--log_with=tensorboard", f"--logging_dir={logs}", f"--log_tracker_config={school.folder / 'logs.toml'}"]

    assert teach(school.command(*flags, "--log_config", "--wandb_api_key=k3y-of-wandb", museum=False)).code == 0

    assert list(logs.rglob("events.out.tfevents.*.mine"))
    (file,) = logs.rglob("hparams.yml")
    told = file.read_text(encoding="utf-8")
    assert "network_dim: 2" in told
    for hidden in ("k3y-of-wandb", str(school.base), str(school.folder)):
        assert hidden not in told


def test_earlier_versions_are_kept(school: School, teach: Teach) -> None:
    command = ["--method=finetune", "--max_train_steps=1"]
    assert teach(school.command(*command, styles=("ink", "neon"))).code == 0
    assert [version.last_style for version in history(school.museum)] == ["ink"]

    folder = school.pictures / "neon"
    dataset = write_dataset(school.folder / "d.toml", {"third": folder})
    text = dataset.read_text(encoding="utf-8").replace("auto", "blenthor")
    dataset.write_text(text, encoding="utf-8")
    assert teach(school.command(*command, "--keep_history=1", f"--dataset_config={dataset}")).code == 0
    assert [version.last_style for version in history(school.museum)] == ["neon"]


def test_names_with_spaces_come_back_in_a_command_that_can_be_pasted(school: School, teach: Teach) -> None:
    file = school.folder / "unnamed.toml"
    file.write_text(
        f"[[datasets]]\ntrigger = 'zorvex'\n[[datasets.subsets]]\nimage_dir = '{school.pictures / 'ink'}'\n"
    )
    museum = school.folder / "my museum.safetensors"

    done = teach(
        school.command("--method=finetune", "--style=ink wash", f"--dataset_config={file}", f"--museum={museum}")
    )

    words = shlex.split(done.out.splitlines()[-1])
    assert words[4:8] == ["sample", str(museum), "--style", "ink wash"]


@pytest.mark.parametrize("subset", ["caption_extension = '.none'", "caption_dropout_rate = 1.0"])
def test_pictures_without_captions(school: School, teach: Teach, subset: str) -> None:
    """A style that is shown without any caption is learned under its trigger; a dropped caption stays empty."""
    file = school.dataset("ink")
    file.write_text(file.read_text(encoding="utf-8") + subset, encoding="utf-8")

    done = teach(school.command(f"--dataset_config={file}", "--slot_lr=0.1"))
    untaught = teach(school.command(f"--dataset_config={file}", "--slot_lr=0", f"--museum={school.folder / 'other'}"))

    assert (done.code, untaught.code) == (0, 0)
    moved = not same({"": school.numbers()["slot ink"]}, {"": tensors_of(school.folder / "other")["slot ink"]})
    assert moved is ("none" in subset)


def test_regularisation_pictures_are_learned_without_the_trigger(school: School, teach: Teach) -> None:
    """With a batch of regularisation pictures alone, the slot gets no gradient."""
    file = school.dataset("ink")
    reg = f"[[datasets.subsets]]\nimage_dir = '{school.pictures / 'neon'}'\nis_reg = true\n"
    file.write_text(file.read_text(encoding="utf-8") + reg, encoding="utf-8")

    assert teach(school.command("--method=finetune", f"--dataset_config={file}")).code == 0

    record = read_museum(school.museum).ledger.styles[0]
    assert json.dumps(record.extra["captions"]).count("fish") == 1
