"""The strings in a museum file's header that WebUIs and model sites read. Pure functions of the ledger."""

from __future__ import annotations

import hashlib
import json

from museum_plugin.base.family import FAMILIES
from museum_plugin.museum.ledger import BaseRecord, Ledger
from museum_plugin.museum.training_strings import training_strings

LEDGER_KEY = "museum"
"""Metadata key under which the ledger stands."""

PLAIN_KEY = "museum_plain_words"
"""Metadata key of a LoRA whose text encoder layers know the triggers' plain words; it tells how well."""

_TRIGGERS = frozenset({"modelspec.usage_hint", "modelspec.trigger_phrase"})
_CHOSEN = frozenset({"modelspec.title", "modelspec.description"}) | _TRIGGERS
"""Written by default, but a string of the user's own wins."""
_DERIVED = frozenset(
    {
        LEDGER_KEY,
        "ss_network_module",
        "ss_network_dim",
        "ss_network_alpha",
        "ss_output_name",
        "ss_base_model_version",
        "ss_v2",
        "ss_tag_frequency",
        "modelspec.sai_model_spec",
        "modelspec.architecture",
        "modelspec.implementation",
        "modelspec.prediction_type",
        "modelspec.date",
        "sshs_model_hash",
        "sshs_legacy_hash",
        "modelspec.hash_sha256",
    }
)
"""Always made anew from ledger and tensors; never taken from the strings a caller adds."""


def file_metadata(ledger: Ledger, output_name: str, extra: dict[str, str]) -> dict[str, str]:
    """All metadata of a museum file but its hashes.

    Args:
        ledger: gives the shape, the base and the triggers.
        output_name: the file's name without suffix; WebUIs take it for `<lora:...>`.
        extra: more strings, such as ss_*; those that follow from the ledger are replaced.
    Returns:
        key -> text that UTF-8 can hold; sorted by key.
    Raises:
        TrainingError: a number in the ledger is not finite.
    """
    added = {key: text for key, text in extra.items() if key not in _DERIVED}
    made = {
        **_default_description(ledger, output_name),
        **added,
        **_sd_scripts_metadata(ledger, output_name),
        **_modelspec_metadata(ledger),
        LEDGER_KEY: ledger.to_json(),
    }
    return {_encodable(key): _encodable(text) for key, text in sorted(made.items())}


def without_ledger(metadata: dict[str, str]) -> dict[str, str]:
    """Only what a WebUI needs to load the file; what sd-scripts keeps with `no_metadata`, and the triggers."""
    kept = _DERIVED - {LEDGER_KEY, "ss_tag_frequency"} | {"modelspec.title"} | _TRIGGERS
    return {key: text for key, text in metadata.items() if key in kept}


def extra_metadata(stored: dict[str, str], ledger: Ledger) -> dict[str, str]:
    """The strings of a file that `file_metadata` did not make itself: its `extra`, back again."""
    defaults = _default_description(ledger, stored.get("ss_output_name", ""))
    made = {key for key in defaults if stored.get(key) == _encodable(defaults[key])}
    return {key: text for key, text in stored.items() if key not in _DERIVED | made}


def model_hashes(serialised: bytes | memoryview) -> dict[str, str]:
    """The hashes by which WebUIs and sites know a LoRA again, as sd-scripts and ModelSpec 1.0.1 have them.

    sshs_model_hash = sha256 of the data behind the header, whose first 12 digits are Civitai's AutoV3;
    modelspec.hash_sha256 is the same behind "0x"; sshs_legacy_hash = the first 8 digits of the sha256 of
    bytes 0x100000 to 0x110000.

    Args:
        serialised: a safetensors file whose metadata are its ss_* strings alone.
    """
    header = int.from_bytes(serialised[:8], "little")
    data = hashlib.sha256(memoryview(serialised)[8 + header :]).hexdigest()
    return {
        "sshs_model_hash": data,
        "modelspec.hash_sha256": f"0x{data}",
        "sshs_legacy_hash": hashlib.sha256(serialised[0x100000:0x110000]).hexdigest()[:8],
    }


def _sd_scripts_metadata(ledger: Ledger, output_name: str) -> dict[str, str]:
    frequency = {record.name: {record.trigger: max(record.pictures, 1)} for record in ledger.styles}
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(ledger.network.rank),
        "ss_network_alpha": str(float(ledger.network.alpha)),
        "ss_output_name": output_name,
        "ss_base_model_version": _version_and_architecture(ledger.base)[0],
        "ss_v2": str(FAMILIES[ledger.base.family].is_v2),
        "ss_tag_frequency": json.dumps(frequency),
    }


def _modelspec_metadata(ledger: Ledger) -> dict[str, str]:
    """ModelSpec 1.0.1."""
    metadata = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": _version_and_architecture(ledger.base)[1] + "/lora",
        "modelspec.implementation": FAMILIES[ledger.base.family].implementation,
        "modelspec.prediction_type": "v" if _predicts_v(ledger.base) else "epsilon",
    }
    if ledger.styles:
        metadata["modelspec.date"] = ledger.styles[-1].taught_at
    return metadata


def _default_description(ledger: Ledger, output_name: str) -> dict[str, str]:
    """What a user can say in other words. ModelSpec has one trigger_phrase, the newest style's; usage_hint has all."""
    made = {
        **(training_strings(ledger.styles[-1]) if ledger.styles else {}),
        "modelspec.title": output_name,
        "modelspec.description": f"One LoRA, styles taught: {len(ledger.styles)}. Triggers: {_triggers(ledger)}",
    }
    if ledger.styles:
        made["modelspec.trigger_phrase"] = ledger.styles[-1].trigger
        made["modelspec.usage_hint"] = f"Triggers: {_triggers(ledger)}"
    return made


def _triggers(ledger: Ledger) -> str:
    return ", ".join(f"{record.trigger} = {record.name}" for record in ledger.styles)


def _predicts_v(base: BaseRecord) -> bool:
    return base.prediction_type == "v_prediction"


def _version_and_architecture(base: BaseRecord) -> tuple[str, str]:
    family = FAMILIES[base.family]
    if _predicts_v(base):
        return family.version_of_v, family.architecture_of_v
    return family.version, family.architecture


def _encodable(text: str) -> str:
    """Text from a file name that is no UTF-8 holds lone surrogates, which no reader of the header accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")
