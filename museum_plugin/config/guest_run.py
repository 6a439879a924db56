"""The RunConfig where sd-scripts' own trainer runs and the museum is its guest: its arguments and `network_args`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from museum_plugin.config.flags import BY_NAME, PARTS, SECTIONS
from museum_plugin.config.flags.log import FLAGS as LOG_FLAGS
from museum_plugin.config.flags.museum import FLAGS as MUSEUM_FLAGS
from museum_plugin.config.network_arguments import to_network_arguments
from museum_plugin.config.refusal import did_you_mean, refusal
from museum_plugin.config.schema import NetworkArguments, RunConfig, StyleData, require
from museum_plugin.errors import ConfigError

_VERDICT = ("sample_steps", "sample_guidance")
_OF_OUR_LOOP = ("gate_extra_steps", "judge_every", "stop_when_learned")
"""What only a loop of our own can do."""
_OURS = (*(flag.name for flag in MUSEUM_FLAGS if flag.name not in _OF_OUR_LOOP), *_VERDICT)
_LAYERS = tuple(field.name for field in fields(NetworkArguments))
_WHERE = "network_args"
_TAKEN = (
    "pretrained_model_name_or_path",
    "v2",
    "v_parameterization",
    "mixed_precision",
    "clip_skip",
    "max_token_length",
    "weighted_captions",
    "network_dim",
    "network_alpha",
    "network_dropout",
    "network_weights",
    "dim_from_weights",
    "base_weights",
    "base_weights_multiplier",
    "scale_weight_norms",
    "zero_terminal_snr",
    "gradient_accumulation_steps",
    "seed",
    "output_dir",
    "output_name",
    "no_metadata",
    "save_precision",
    "training_comment",
    *(flag.name for flag in LOG_FLAGS if flag.name.startswith("metadata_")),
)
"""sd-scripts' arguments that the museum goes by, beside the learning rates; all others are sd-scripts' own matter."""
_ROUNDED = "it would round the LoRA that all styles share; use mixed_precision"
_IMPOSSIBLE = {
    "full_fp16": _ROUNDED,
    "full_bf16": _ROUNDED,
    "fp8_base": "the previous museum could not draw with it; remove it",
    "fp8_base_unet": "the previous museum could not draw with it; remove it",
    "deepspeed": "it keeps the LoRA where no museum can be written from; remove it",
    "dataset_class": "the captions of such a dataset cannot be read; use dataset_config",
}
DEFAULT_RANK = 4
"""sd-scripts' own, of a new museum."""
DEFAULT_NAME = "last"


@dataclass(frozen=True)
class GuestRun:
    """What the museum is told by sd-scripts."""

    run: RunConfig
    """Where sd-scripts alone decides (optimizer, schedule, loss, steps) it holds defaults that nobody reads."""
    settings: dict[str, Any]
    """What the ledger remembers, by flag name."""
    shape_is_given: bool
    """Whether network_dim was given; without it a museum that is there keeps its own rank and alpha."""


def read_guest_run(given: Mapping[str, Any], network_args: Mapping[str, str]) -> GuestRun:
    """Check and type what sd-scripts was told.

    Args:
        given: all of sd-scripts' arguments by name, at their defaults where not given.
        network_args: name -> text.
    Raises:
        ConfigError: an unknown name, a wrong value, or an argument that cannot go with a museum.
    """
    _check_possible(given)
    ours = {name: BY_NAME[name].read(_listed(name, text), f"{_WHERE}: {name}") for name, text in _museum(network_args)}
    for name, example in (("museum", "museums/mine.safetensors"), ("style", "ukiyoe")):
        if name not in ours:
            raise ConfigError(f'{_WHERE}: {name} is missing; give it as "{name}={example}"')
    layers = to_network_arguments({name: text for name, text in network_args.items() if name in _LAYERS}, _WHERE)
    taken = {name: _read(name, given[name]) for name in _TAKEN if given.get(name) not in (None, "", [])}
    rates = learning_rates(given)
    more: dict[str, dict[str, Any]] = {
        "network": {"arguments": layers, **_network(given, taken, rates)},
        "optimizer": rates,
        "output": {"output_name": taken.get("output_name", DEFAULT_NAME)},
    }
    run = RunConfig(
        styles=(StyleData(str(ours["style"]), str(ours.get("trigger", "auto")), ()),),
        **{section: _build(section, {**taken, **ours}, more.get(section, {})) for section in PARTS},
    )
    settings = {**taken, **ours, "unet_lr": rates["unet_learning_rate"]}
    text_rate = rates["text_encoder_learning_rate"] if run.network.train_text_encoder else 0.0
    settings |= {"text_encoder_lr": text_rate, "network_args": layers.given()}
    plain = {name: _plain(value) for name, value in settings.items()}
    return GuestRun(run, plain, shape_is_given=given.get("network_dim") is not None)


def _check_possible(given: Mapping[str, Any]) -> None:
    for name, reason in _IMPOSSIBLE.items():
        require(not given.get(name), f"{name}: cannot go with museum_plugin.kohya: {reason}")
    suffix = given.get("save_model_as") or "safetensors"
    if suffix != "safetensors":
        raise refusal("save_model_as", suffix, "safetensors")


def _museum(network_args: Mapping[str, str]) -> list[tuple[str, str]]:
    known = (*_OURS, *_LAYERS)
    for name in network_args:
        require(
            name not in _OF_OUR_LOOP,
            f"{_WHERE}: {name}: cannot be used where sd-scripts has the loop; leave it out, or use train_museum.py",
        )
        if name not in known:
            raise refusal(_WHERE, name, ", ".join(known) + did_you_mean(name, known))
    return [(name, text) for name, text in network_args.items() if name in _OURS and text != ""]


def _listed(name: str, text: str) -> object:
    """Several weights stand in one text, separated by commas."""
    return text.split(",") if name == "term_weights" else text


def _read(name: str, value: object) -> object:
    return BY_NAME[name].read(value, name)


def learning_rates(given: Mapping[str, Any]) -> dict[str, Any]:
    """As in sd-scripts: each part's own, else learning_rate."""
    usual = given.get("learning_rate") or 0.0
    unet, text = given.get("unet_lr"), given.get("text_encoder_lr")
    return {
        "unet_learning_rate": _read("unet_lr", usual if unet is None else unet),
        "text_encoder_learning_rate": _read("text_encoder_lr", usual if text in (None, []) else text),
    }


def _network(given: Mapping[str, Any], taken: Mapping[str, Any], rates: Mapping[str, Any]) -> dict[str, Any]:
    """Shape and parts of the LoRA. The text encoder gets layers unless it is left out or its rate is 0."""
    text = rates["text_encoder_learning_rate"]
    trains_text = not given.get("network_train_unet_only") and (max(text) if isinstance(text, tuple) else text) > 0
    trains_unet = not given.get("network_train_text_encoder_only") and rates["unet_learning_rate"] > 0
    return {
        "rank": taken.get("network_dim", DEFAULT_RANK),
        "alpha": float(taken.get("network_alpha", 1.0)) or float(taken.get("network_dim", DEFAULT_RANK)),
        "train_unet": trains_unet,
        "train_text_encoder": trains_text,
    }


def _build(section: str, values: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
    found = {name: value for name, value in values.items() if BY_NAME[name].section == section}
    named = {BY_NAME[name].attribute: value for name, value in found.items() if BY_NAME[name].attribute}
    return SECTIONS[section](**{**named, **more})


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
