"""What the header says of how the newest style was taught, and the hashes by which a file is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open

from museum_plugin.museum.file import read_museum, write_museum
from museum_plugin.museum.training_strings import DATA, host_strings, lasting_strings, training_strings
from tests.unit.museum.museum_files import museum, style

SETTINGS = {
    "learning_rate": 1e-4, "optimizer_type": "AdamW", "optimizer_args": ["weight_decay=0.1", "eps=1e-7"], "seed": 8,
    "clip_skip": 2, "min_timestep": 100, "unet_lr": None, "pretrained_model_name_or_path": "museums/models/sd.ckpt",
    "network_args": {"conv_dim": 4}, "debiased_estimation_loss": True,
}  # fmt: skip
SIZES = {"images": 30, "reg_images": 4, "sizes": {"512x512": 10, "768x512": 20}}
DATASETS = [
    {"resolution": [512, 512], "subsets": [
        {"image_dir": "ink", "num_repeats": 2, "img_count": 12, "is_reg": False},
        {"image_dir": "others", "num_repeats": 1, "img_count": 4, "is_reg": True},
    ]},
    {"resolution": [768, 768], "subsets": [{"image_dir": "ink", "num_repeats": 1, "img_count": 6, "is_reg": False}]},
]  # fmt: skip
TAUGHT = replace(
    style("hatch", "nlwx"),
    settings=SETTINGS,
    extra={DATA: {**SIZES, "batches_per_epoch": 4, "batches_per_step": 2, "datasets": DATASETS}},
)


def test_strings_of_a_record() -> None:
    assert training_strings(TAUGHT) == {
        "ss_learning_rate": "0.0001",
        "ss_clip_skip": "2",
        "ss_optimizer": "AdamW(weight_decay=0.1,eps=1e-7)",
        "ss_seed": "8",
        "ss_sd_model_name": "sd.ckpt",
        "ss_network_args": '{"conv_dim": 4}',
        "ss_debiased_estimation": "True",
        "ss_steps": "9",
        "ss_training_finished_at": "1767323045.0",
        "ss_datasets": json.dumps(DATASETS, sort_keys=True),
        "ss_dataset_dirs": json.dumps(
            {"ink": {"n_repeats": 2, "img_count": 12}, "ink (2)": {"n_repeats": 1, "img_count": 6}}
        ),
        "ss_num_train_images": "30",
        "ss_num_reg_images": "4",
        "ss_num_batches_per_epoch": "4",
        "ss_epoch": "5",  # 9 steps of 2 batches are 18 batches: in the fifth epoch
        "ss_num_epochs": "5",
        "ss_resolution": "(768, 512)",
        "ss_bucket_info": json.dumps(
            {"buckets": {"0": {"resolution": [512, 512], "count": 10}, "1": {"resolution": [768, 512], "count": 20}}}
        ),
        "modelspec.resolution": "768x512",
        "modelspec.encoder_layer": "2",
        "modelspec.timestep_range": "100,1000",
    }


def test_nothing_is_said_that_is_not_known() -> None:
    assert training_strings(replace(style("hatch", "nlwx"), steps=0)) == {}
    assert "modelspec.timestep_range" not in training_strings(replace(TAUGHT, settings={}))


def test_a_time_that_is_none_is_not_told() -> None:
    assert "ss_training_finished_at" not in training_strings(replace(TAUGHT, taught_at="yesterday"))


def test_what_another_trainer_says_is_kept_without_paths_and_endless_lists() -> None:
    tags = {"ink": {"cat": 3}}
    given = {
        "ss_seed": 7, "ss_datasets": json.dumps([{"num_train_images": 4, "tag_frequency": tags}]),
        "ss_network_args": '{"museum": "museums/mine.safetensors"}', "ss_bucket_info": "x" * 2**20,
        "modelspec.title": "ink", "other": "x",
    }  # fmt: skip
    assert host_strings(given) == {"ss_seed": "7", "ss_datasets": '[{"num_train_images": 4}]'}
    assert host_strings({"ss_datasets": "no JSON"}) == {"ss_datasets": "no JSON"}


def test_the_next_style_starts_without_what_was_said_of_the_one_before() -> None:
    given = {"ss_seed": "7", "ss_training_comment": "by hand", "modelspec.author": "Ann"}
    assert lasting_strings(given) == {"ss_training_comment": "by hand", "modelspec.author": "Ann"}


def test_they_are_those_of_the_newest_style_and_never_stale(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    content = museum(TAUGHT)
    write_museum(path, content, keep_history=0)
    read = read_museum(path)
    assert read.metadata == content.metadata
    newer = museum(TAUGHT, replace(style("neon", "bsgo"), steps=3))
    write_museum(path, replace(newer, metadata=read.metadata), keep_history=0)
    with safe_open(path, "np") as file:
        found = file.metadata()
    assert found["ss_steps"] == "3"
    assert "ss_learning_rate" not in found


def test_the_hashes_of_a_written_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_museum(path, museum(TAUGHT), keep_history=0)
    written = path.read_bytes()
    data = hashlib.sha256(written[8 + int.from_bytes(written[:8], "little") :]).hexdigest()
    with safe_open(path, "np") as file:
        found = file.metadata()
    assert found["sshs_model_hash"] == data
    assert found["modelspec.hash_sha256"] == f"0x{data}"
    assert found["sshs_model_hash"][:12] == data[:12]  # Civitai's AutoV3
