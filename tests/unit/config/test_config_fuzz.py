"""Whatever stands in a file, the answer is a RunConfig or a ConfigError, never a traceback."""

from __future__ import annotations

import contextlib
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
from museum_plugin.config.flags import FLAGS
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import ConfigError

DATASET: dict[str, Any] = {
    "general": {"shuffle_caption": True, "caption_extension": ".txt"},
    "datasets": [
        {"resolution": 64, "style": "ink", "subsets": [{"image_dir": "img", "num_repeats": 2}]},
        {"resolution": [96, 64], "style": "dots", "trigger": "bsgo", "subsets": [{"image_dir": "img"}]},
    ],
}
CONFIG: dict[str, Any] = {"museum": "m", "seed": 1, "training": {"learning_rate": 1e-4, "network_dim": 4}}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 600)
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "1e-4", "auto", "512,512", "10%", "a=1", "a\0b", "x" * 5000, 10**400, "-1", "false"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from([*KEYS, *NOT_HONOURED, "subsets", "datasets", "general", *(f.name for f in FLAGS)]) | st.text(
    max_size=8
)


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "img").mkdir()
    (folder / "good.json").write_text(json.dumps(DATASET), encoding="utf-8")
    with contextlib.chdir(folder):
        yield


def tables(value: object) -> list[dict[str, Any]]:
    """Every table in a nested value, outermost first."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, dict) else []) + [table for item in inner for table in tables(item)]


def mutate(data: st.DataObject, original: dict[str, Any]) -> dict[str, Any]:
    """One to three keys of any table set, renamed or deleted."""
    content = deepcopy(original)
    for _ in range(data.draw(st.integers(1, 3))):
        table = data.draw(st.sampled_from(tables(content)))
        known = st.sampled_from(sorted(table)) if table else NAMES
        name = data.draw(known | NAMES)
        kind = data.draw(st.sampled_from(["set", "rename", "delete"]))
        if kind == "set":
            table[name] = data.draw(VALUES)
        elif name in table:
            value = table.pop(name)
            if kind == "rename":
                table[data.draw(NAMES)] = value
    return content


def toml(value: object) -> str:
    """A value as inline TOML; None has none and becomes the empty text, as front ends write it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps("" if value is None else value, ensure_ascii=False)


def outcome(argv: list[str]) -> RunConfig | str:
    try:
        config = parse_command_line(argv)
    except ConfigError as error:
        return str(error)
    json.dumps(describe(config))
    return config


@settings(max_examples=200)
@given(st.data())
def test_a_mutated_dataset_file_is_read_or_refused(data: st.DataObject) -> None:
    Path("bad.json").write_text(json.dumps(mutate(data, DATASET)), encoding="utf-8")

    assert outcome(["--dataset_config", "bad.json", "--museum", "m"])


@settings(max_examples=200)
@given(st.data())
def test_a_mutated_config_file_is_read_or_refused(data: st.DataObject) -> None:
    content = mutate(data, CONFIG)
    text = "\n".join(f"{toml(str(name))} = {toml(value)}" for name, value in content.items())
    Path("run.toml").write_text(text, encoding="utf-8", newline="\n")

    assert outcome(["--config_file", "run.toml", "--dataset_config", "good.json"])


def test_the_files_are_good_before_they_are_mutated() -> None:
    Path("run.toml").write_text(
        "\n".join(f"{name} = {toml(value)}" for name, value in CONFIG.items()), encoding="utf-8"
    )

    config = outcome(["--config_file", "run.toml", "--dataset_config", "good.json"])

    assert isinstance(config, RunConfig)
    assert [style.name for style in config.styles] == ["ink", "dots"]
    assert os.listdir("img") == []
