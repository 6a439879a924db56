"""The strings that WebUIs read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save

from museum_plugin.museum.ledger import BaseRecord, Ledger, NetworkRecord, StyleRecord
from museum_plugin.museum.metadata import extra_metadata, file_metadata, model_hashes


def record(name: str, trigger: str, pictures: int, taught_at: str) -> StyleRecord:
    words = tuple(trigger.split())
    ids = tuple(range(len(words)))
    return StyleRecord(name, trigger, words, ids, taught_at, 100, pictures, "ab", "museum", {}, {})


def ledger(family: str = "sd1", prediction_type: str = "epsilon") -> Ledger:
    return Ledger(
        museum_id="0" * 32,
        base=BaseRecord("f00d", family, prediction_type, "pocket"),
        network=NetworkRecord(16, 8.0, ("lora_unet_a",)),
        styles=(
            record("hatch", "nlwx rctid", 12, "2026-01-02T03:04:05+00:00"),
            record("neon", "bsgo", 9, "2026-02-03T04:05:06+00:00"),
        ),
    )


def test_sd_scripts_strings() -> None:
    metadata = file_metadata(ledger(), "mine", {})
    expected = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "16",
        "ss_network_alpha": "8.0",
        "ss_output_name": "mine",
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
    }
    assert {key: metadata[key] for key in expected} == expected


def test_tag_frequency_has_a_folder_for_each_style() -> None:
    frequency = json.loads(file_metadata(ledger(), "mine", {})["ss_tag_frequency"])
    assert frequency == {"hatch": {"nlwx rctid": 12}, "neon": {"bsgo": 9}}


def test_a_style_without_counted_pictures_still_shows_its_trigger() -> None:
    styles = (record("hatch", "nlwx", 0, "2026-01-02T03:04:05+00:00"),)
    assert json.loads(file_metadata(replace(ledger(), styles=styles), "mine", {})["ss_tag_frequency"]) == {
        "hatch": {"nlwx": 1}
    }


def test_modelspec_strings() -> None:
    metadata = file_metadata(ledger(), "mine", {})
    assert {key: text for key, text in metadata.items() if key.startswith("modelspec.")} == {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.prediction_type": "epsilon",
        "modelspec.title": "mine",
        "modelspec.description": "One LoRA, styles taught: 2. Triggers: nlwx rctid = hatch, bsgo = neon",
        "modelspec.date": "2026-02-03T04:05:06+00:00",
        "modelspec.trigger_phrase": "bsgo",
        "modelspec.usage_hint": "Triggers: nlwx rctid = hatch, bsgo = neon",
    }


@pytest.mark.parametrize(
    "case",
    [
        ("sd1", "v_prediction", "sd_v1_v", "False", "stable-diffusion-v1/lora", "v"),
        ("sd2", "epsilon", "sd_v2", "True", "stable-diffusion-v2-512/lora", "epsilon"),
        ("sd2", "v_prediction", "sd_v2_v", "True", "stable-diffusion-v2-768-v/lora", "v"),
        ("sdxl", "epsilon", "sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora", "epsilon"),
        ("sdxl", "v_prediction", "sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora", "v"),
    ],
)
def test_strings_of_each_family(case: tuple[str, ...]) -> None:
    family, prediction_type, *expected = case
    metadata = file_metadata(ledger(family, prediction_type), "mine", {})
    keys = ("ss_base_model_version", "ss_v2", "modelspec.architecture", "modelspec.prediction_type")
    assert [metadata[key] for key in keys] == expected
    assert (metadata["modelspec.implementation"] == "diffusers") == (family != "sdxl")


def test_a_museum_without_styles_has_no_triggers() -> None:
    metadata = file_metadata(replace(ledger(), styles=()), "mine", {})
    assert not {"modelspec.date", "modelspec.trigger_phrase", "modelspec.usage_hint"} & set(metadata)
    assert metadata["ss_tag_frequency"] == "{}"


def test_the_ledger_comes_back_from_the_strings() -> None:
    assert Ledger.from_json(file_metadata(ledger(), "mine", {})["museum"]) == ledger()


EXTRA: dict[str, Any] = {"ss_seed": "7", "modelspec.author": "Größe", "modelspec.title": "My styles"}


def test_added_strings_stand_beside_the_derived_ones_and_come_back() -> None:
    metadata = file_metadata(ledger(), "mine", EXTRA)
    assert EXTRA.items() <= metadata.items()
    assert extra_metadata(metadata, ledger()) == EXTRA
    assert extra_metadata(file_metadata(ledger(), "mine", {}), ledger()) == {}


def test_added_strings_never_replace_a_derived_one() -> None:
    stale = file_metadata(replace(ledger(), styles=()), "old", {}) | {"sshs_model_hash": "0"}
    kept = {key: text for key, text in stale.items() if key not in ("modelspec.title", "modelspec.description")}
    assert file_metadata(ledger(), "mine", kept) == file_metadata(ledger(), "mine", {})


def test_a_name_that_is_no_utf8_becomes_text_that_a_header_can_hold() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    metadata = file_metadata(ledger(), name, {"ss_note": name})
    assert (metadata["ss_output_name"], metadata["ss_note"]) == ("caf?", "caf?")
    assert extra_metadata(metadata, ledger()) == {"ss_note": "caf?"}


def test_hashes_of_a_file_above_one_mebibyte() -> None:
    tensors = {"b": torch.arange(400_000, dtype=torch.float32), "a": torch.ones(3)}
    data = tensors["a"].numpy().tobytes() + tensors["b"].numpy().tobytes()  # by name
    serialised = save(tensors, {"ss_network_dim": "16"})
    header = len(serialised) - len(data)

    hashes = model_hashes(serialised)

    assert hashes["sshs_model_hash"] == hashlib.sha256(data).hexdigest()
    window = data[2**20 - header : 2**20 + 2**16 - header]
    assert hashes["sshs_legacy_hash"] == hashlib.sha256(window).hexdigest()[:8]


def test_legacy_hash_of_a_small_file_is_that_of_nothing() -> None:
    assert model_hashes(save({"a": torch.ones(3)}))["sshs_legacy_hash"] == "e3b0c442"


@pytest.mark.parametrize("key", ["modelspec.title", "modelspec.usage_hint", "modelspec.trigger_phrase"])
def test_a_default_follows_the_styles_until_a_user_says_otherwise(key: str) -> None:
    one = replace(ledger(), styles=ledger().styles[:1])
    made, said = file_metadata(one, "mine", {}), file_metadata(one, "mine", {key: "said"})
    later = [file_metadata(ledger(), "other", extra_metadata(stored, one))[key] for stored in (made, said)]
    assert later == [file_metadata(ledger(), "other", {})[key], "said"]
