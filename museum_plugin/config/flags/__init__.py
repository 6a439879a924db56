"""One table: every flag's spelling (sd-scripts' own, then ours), the field it fills, its type, help and choices.

Defaults are not here: they are those of the dataclasses in `config.schema`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from museum_plugin.config.flags import base, data, log, loss, museum, network, optimizer, output, training
from museum_plugin.config.flags.answers import ANSWERS as ANSWERS
from museum_plugin.config.flags.flag import PARTS as PARTS
from museum_plugin.config.flags.flag import SECTIONS as SECTIONS
from museum_plugin.config.flags.flag import Flag as Flag
from museum_plugin.config.flags.front_ends import FRONT_END_KEYS as FRONT_END_KEYS
from museum_plugin.config.flags.front_ends import MEANT as MEANT
from museum_plugin.config.flags.front_ends import OF_OTHER_BASES
from museum_plugin.config.refusal import TAUGHT_BASES, did_you_mean
from museum_plugin.config.schema import NetworkArguments, RunConfig
from museum_plugin.errors import ConfigError

FLAGS: tuple[Flag, ...] = (
    *base.FLAGS,
    *data.FLAGS,
    *network.FLAGS,
    *optimizer.FLAGS,
    *loss.FLAGS,
    *training.FLAGS,
    *output.FLAGS,
    *log.FLAGS,
    *museum.FLAGS,
)
"""Every flag, topic by topic."""
BY_NAME: dict[str, Flag] = {flag.name: flag for flag in FLAGS}

NOT_HONOURED: dict[str, dict[str, object]] = json.loads(
    Path(__file__).parents[1].joinpath("sd_scripts_flags.json").read_text(encoding="utf-8")
)
"""sd-scripts' flags that are accepted and listed as not honoured yet: name -> {"type", "default"}."""

TABLES = ("term_weights", "optimizer_args", "network_args", "lr_scheduler_args")
"""Keys whose table is a value, not a section."""
LISTS = ("text_encoder_lr", "base_weights", "base_weights_multiplier", "export_for")
"""Flags that several words may follow."""


def asks_for_nothing(name: str, value: object) -> bool:
    """Whether a key we do not honour changes nothing: false, empty, or sd-scripts' own default."""
    default = NOT_HONOURED[name]["default"]
    if value is None or value is False or value in ("", [], default):
        return True
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value).lower() in ("false", str(default).lower())
    return False


def is_known(name: str) -> bool:
    """Whether a key of a config file is a flag, or one that front ends add."""
    return name in BY_NAME or name in NOT_HONOURED or name in FRONT_END_KEYS


def unknown(name: str, where: str) -> ConfigError:
    """The error for a key or flag nobody knows, with the nearest that somebody does."""
    spelled = name.strip().lower().replace("-", "_")
    if spelled in OF_OTHER_BASES:
        return ConfigError(f"{where}: belongs to Flux, SD3 and the like; {TAUGHT_BASES}")
    meant = f'; did you mean "{MEANT[spelled]}"?' if spelled in MEANT else ""
    return ConfigError(f"{where}: unknown{meant or did_you_mean(spelled, [*BY_NAME, *NOT_HONOURED])}")


def describe(config: RunConfig) -> dict[str, object]:
    """The run as JSON-able values by flag name, for the ledger and the metadata.

    A data flag that differs between the datasets of the run is a list of its values; flags that only name files to
    read (--config_file, --dataset_config, --train_data_dir) are not in a RunConfig.
    """
    datasets = [dataset for style in config.styles for dataset in style.datasets]
    parts: dict[str, Sequence[object]] = {
        "dataset": datasets,
        "subset": [subset for dataset in datasets for subset in dataset.subsets],
        "style": config.styles,
    }
    described: dict[str, object] = {}
    for flag in (flag for flag in FLAGS if flag.attribute and not flag.is_secret):
        owners = parts.get(flag.section) or [getattr(config, flag.section)]
        values = [_plain(getattr(owner, flag.attribute), flag) for owner in owners]
        distinct = [value for i, value in enumerate(values) if value not in values[:i]]
        described[flag.name] = distinct[0] if len(distinct) == 1 else distinct
    described["network_train_unet_only"] = not config.network.train_text_encoder
    described["network_train_text_encoder_only"] = not config.network.train_unet
    return described


def told_default(name: str) -> object:
    """What `describe` says of a flag that was not given; None where nobody knows the flag, or it has no default."""
    return _plain(BY_NAME[name].default, BY_NAME[name]) if name in BY_NAME else None


def _plain(value: Any, flag: Flag) -> object:
    if flag.name == "resolution" and value is not None:
        return ",".join(str(side) for side in value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, NetworkArguments):
        value = value.given()
    if isinstance(value, dict):
        return {name: _plain(item, flag) for name, item in value.items()}
    return [_plain(item, flag) for item in value] if isinstance(value, (list, tuple)) else value
