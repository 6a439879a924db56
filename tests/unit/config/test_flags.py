"""The table of flags agrees with the schema and with itself."""

from __future__ import annotations

from dataclasses import fields

import pytest

from museum_plugin.config.dataset_toml import KEYS
from museum_plugin.config.flags import FLAGS, FRONT_END_KEYS, NOT_HONOURED, SECTIONS, Flag, asks_for_nothing
from museum_plugin.config.schema import StyleData
from museum_plugin.errors import ConfigError


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.attribute], ids=lambda flag: flag.name)
def test_every_flag_names_a_field_of_the_schema(flag: Flag) -> None:
    owner = SECTIONS.get(flag.section, StyleData)

    assert flag.attribute in [field.name for field in fields(owner)]
    assert flag.section not in ("dataset", "subset") or flag.attribute in KEYS


def test_every_field_of_the_schema_has_a_flag() -> None:
    without = {
        "preview": {"width", "height", "options"},
        "network": {"train_unet", "train_text_encoder"},
    }
    for section in sorted(set(SECTIONS) - {"dataset", "subset"}):
        flagged = {flag.attribute for flag in FLAGS if flag.section == section}
        assert {field.name for field in fields(SECTIONS[section])} - flagged == without.get(section, set())


def test_no_name_means_two_things() -> None:
    names = [flag.name for flag in FLAGS] + list(NOT_HONOURED) + list(FRONT_END_KEYS)

    assert len(names) == len(set(names))


def test_every_flag_has_a_help_line() -> None:
    assert all(flag.help and not flag.help.endswith(".") for flag in FLAGS)


@pytest.mark.parametrize(
    ("name", "value", "nothing"),
    [
        ("full_fp16", False, True),
        ("full_fp16", "false", True),
        ("full_fp16", True, False),
        ("huggingface_repo_id", False, True),
        ("huggingface_repo_id", "mine", False),
        ("zero_stage", 2, True),
        ("zero_stage", "2", True),
        ("zero_stage", 0, False),
        ("save_model_as", "safetensors", True),
    ],
)
def test_only_what_asks_for_something_is_worth_a_line(name: str, value: object, nothing: bool) -> None:
    assert asks_for_nothing(name, value) is nothing


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.choices], ids=lambda flag: flag.name)
def test_upper_and_lower_case_of_a_choice_are_the_same(flag: Flag) -> None:
    for choice in flag.choices:
        assert flag.read(choice.upper(), "here") == flag.read(f" {choice.lower()}", "here") == choice
    with pytest.raises(ConfigError, match="here: found 'nothing of these', allowed: "):
        flag.read("nothing of these", "here")
