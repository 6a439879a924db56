"""Datasets and subsets of typed values, wherever these were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from museum_plugin.config.schema import DatasetConfig, SubsetConfig
from museum_plugin.errors import ConfigError

DATASET_FIELDS = [f.name for f in fields(DatasetConfig) if f.name != "subsets"]
SUBSET_FIELDS = [f.name for f in fields(SubsetConfig)]

Values = Mapping[str, Any]
"""Typed values by their name in a dataset file."""


def make_dataset(subsets: list[SubsetConfig], values: Values, where: str) -> DatasetConfig:
    """A dataset from typed values; `where` begins every message.

    Raises:
        ConfigError: no resolution, or an impossible value.
    """
    if "resolution" not in values:
        raise ConfigError(f"{where}: resolution is missing; add for example resolution = 512, or give --resolution")
    given = {name: values[name] for name in DATASET_FIELDS if name in values}
    try:
        return DatasetConfig(subsets=tuple(subsets), **given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def make_subset(values: Values, where: str) -> SubsetConfig:
    """A subset from typed values; `where` begins every message.

    Raises:
        ConfigError: an impossible value.
    """
    given = {name: values[name] for name in SUBSET_FIELDS if name in values}
    extension = str(given.get("caption_extension", ""))
    if extension and not extension.startswith("."):
        given["caption_extension"] = f".{extension}"
    try:
        return SubsetConfig(**given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
