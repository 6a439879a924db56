"""Whatever stands in a file, the answer is a RunConfig or a ConfigError of one line, never a traceback."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from museum_plugin.config.arguments import describe, parse_command_line
from museum_plugin.config.dataset_toml import KEYS, NOT_HONOURED
from museum_plugin.config.flags import FLAGS, FRONT_END_KEYS
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import ConfigError

DATASETS: dict[str, dict[str, Any]] = {
    "styles": {
        "general": {"shuffle_caption": True, "caption_extension": ".txt"},
        "datasets": [
            {"resolution": 64, "style": "ink", "subsets": [{"image_dir": "img", "num_repeats": 2}]},
            {"resolution": [96, 64], "style": "dots", "trigger": "bsgo", "subsets": [{"image_dir": "img"}]},
        ],
    },
    "fine-tuning": {
        "general": {"keep_tokens": 1, "enable_bucket": True, "min_bucket_reso": 256, "bucket_no_upscale": False},
        "datasets": [
            {
                "resolution": "512,768",
                "batch_size": "2",
                "validation_split": 0.2,
                "subsets": [{"image_dir": "img", "metadata_file": "meta.json", "flip_aug": True, "class_tokens": ""}],
            }
        ],
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "museum": {"museum": "m", "seed": 1, "training": {"learning_rate": 1e-4, "network_dim": 4}},
    "notebook": {
        "model_arguments": {"pretrained_model_name_or_path": "C:/base.safetensors", "v2": False},
        "additional_network_arguments": {
            "network_module": "networks.lora",
            "network_args": ["conv_dim=4", "conv_alpha=1"],
            "network_train_unet_only": True,
        },
        "optimizer_arguments": {
            "optimizer_type": "AdamW8bit",
            "optimizer_args": ["weight_decay=0.1", "betas=0.9,0.99"],
            "unet_lr": "1e-4",
            "lr_warmup_steps": 0.05,
        },
        "training_arguments": {"max_token_length": 225, "noise_offset": 0.05, "min_snr_gamma": 5, "clip_skip": "2"},
    },
    "front end": {
        "model_train_type": "sd-lora",
        "dynamo_backend": "no",
        "epoch": 5,
        "reg_data_dir": "",
        "resolution": "512,512",
        "text_encoder_lr": [],
        "lr_scheduler": "cosine_with_restarts",
        "loss_type": "l2",
        "huber_c": 0.1,
        "persistent_data_loader_workers": 1,
        "max_grad_norm": 1.0,
        "xformers": True,
    },
}

DATES = st.sampled_from([datetime.date(2024, 2, 29), datetime.time(7, 32), datetime.datetime(2024, 2, 29, 7, 32)])
ODD = ["", "1e-4", "auto", "512,512", "10%", "a=1", "a\0b", "a\nb", "x" * 5000, 10**400, 2**63, "-1", "false", "１２"]
ODD += ["\u202e", "🖼", "\ufeff", "algo=lokr", "preset=full", "C:\\n", float("nan"), float("-inf"), 1e308, 5e-324]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 600)
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(ODD)
    | DATES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
KNOWN = [*KEYS, *NOT_HONOURED, *FRONT_END_KEYS, *(f.name for f in FLAGS), "subsets", "datasets", "general", "args"]
NAMES = st.sampled_from(KNOWN) | st.text(max_size=8)
KINDS = ("set", "rename", "delete", "misspell", "double", "nest", "list")


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "img").mkdir()
    (folder / "meta.json").write_text("{}", encoding="utf-8")
    (folder / "good.json").write_text(json.dumps(DATASETS["styles"]), encoding="utf-8")
    with contextlib.chdir(folder):
        yield


def tables(value: object) -> list[dict[str, Any]]:
    """Every table in a nested value, outermost first."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, dict) else []) + [table for item in inner for table in tables(item)]


def misspelled(data: st.DataObject, name: str) -> str:
    at = data.draw(st.integers(0, max(len(name) - 1, 0)))
    return data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + name[at : at + 1] * 2 + name[at + 1 :],
                                      name.upper(), name + " ", name.replace("_", "-"), name + "s"]))  # fmt: skip


def mutate(data: st.DataObject, original: dict[str, Any]) -> dict[str, Any]:
    """One to three keys of any table changed."""
    content = deepcopy(original)
    for _ in range(data.draw(st.integers(1, 3))):
        every = tables(content)
        table = data.draw(st.sampled_from(every))
        known = st.sampled_from(sorted(table)) if table else NAMES
        name = data.draw(known | NAMES)
        kind = data.draw(st.sampled_from(KINDS))
        if kind == "set":
            table[name] = data.draw(VALUES)
        elif name in table and kind == "double":
            data.draw(st.sampled_from(every))[name] = deepcopy(table[name])
        elif name in table and kind in ("nest", "list"):
            table[name] = {name: table[name]} if kind == "nest" else [table[name]]
        elif name in table:
            value = table.pop(name)
            if kind in ("rename", "misspell"):
                table[data.draw(NAMES) if kind == "rename" else misspelled(data, name)] = value
    return content


def toml(value: object) -> str:
    """A value as inline TOML; None has none and becomes the empty text, as front ends write it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    return json.dumps("" if value is None else value, ensure_ascii=False)


def lines(content: dict[str, Any]) -> list[str]:
    """A file, a line for each key of the outermost table."""
    return [f"{toml(name)} = {toml(value)}" for name, value in content.items()]


def outcome(*argv: str) -> RunConfig | str:
    try:
        config = parse_command_line(argv)
    except ConfigError as error:
        message = str(error)
        assert message.split("\n") == [message]
        return message
    json.dumps(describe(config))
    return config


@settings(max_examples=700)
@given(st.data())
def test_a_mutated_dataset_file_is_read_or_refused(data: st.DataObject) -> None:
    content = mutate(data, DATASETS[data.draw(st.sampled_from(sorted(DATASETS)))])
    as_json = data.draw(st.booleans())
    text = json.dumps(content, default=str) if as_json else "\n".join(lines(content))
    path = Path("bad.json" if as_json else "bad.toml")
    path.write_text(text, encoding="utf-8", newline="\n")

    outcome("--dataset_config", str(path), "--museum", "m")


@settings(max_examples=800)
@given(st.data())
def test_a_mutated_config_file_is_read_or_refused(data: st.DataObject) -> None:
    content = mutate(data, CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    Path("run.toml").write_text("\n".join(lines(content)), encoding="utf-8", newline="\n")

    outcome("--config_file", "run.toml", "--dataset_config", "good.json", "--museum", "m")


@settings(max_examples=500)
@given(st.data())
def test_a_garbled_file_is_read_or_refused(data: st.DataObject) -> None:
    """Characters and whole lines lost, doubled or put in, as bytes that need not be UTF-8."""
    files = {**CONFIGS, **DATASETS}
    name = data.draw(st.sampled_from(sorted(files)))
    raw = "\n".join(lines(files[name])).encode()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(start + 20, len(raw))))
    put = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\\", b'"', b"[", b"}", b" = ", b"\xef\xbb\xbf"])
    )
    times = data.draw(st.integers(0, 2))
    Path("run.toml").write_bytes(raw[:start] + put + raw[start:stop] * times + raw[stop:])

    if name in CONFIGS:
        outcome("--config_file", "run.toml", "--dataset_config", "good.json", "--museum", "m")
    else:
        outcome("--dataset_config", "run.toml", "--museum", "m")


@pytest.mark.parametrize("name", [*CONFIGS, *DATASETS])
def test_the_files_are_good_before_they_are_mutated(name: str) -> None:
    content = CONFIGS.get(name) or DATASETS[name]
    Path("run.toml").write_text("\n".join(lines(content)), encoding="utf-8")

    if name in CONFIGS:
        config = outcome("--config_file", "run.toml", "--dataset_config", "good.json", "--museum", "m")
    else:
        config = outcome("--dataset_config", "run.toml", "--museum", "m")

    assert isinstance(config, RunConfig)
    assert [style.name for style in config.styles] == (["run"] if name == "fine-tuning" else ["ink", "dots"])
    assert os.listdir("img") == []
