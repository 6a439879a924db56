"""sd-scripts' dataset file (.toml or .json, DreamBooth schema) -> the styles to teach, in order.

A value is looked for in the subset, its dataset, [general], the flags, then the schema's default (sd-scripts' order).
Ours: the keys `style` and `trigger` in [[datasets]] or [[datasets.subsets]].
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from museum_plugin.config.convert import to_bool, to_float, to_int, to_name, to_path, to_resolution, to_text
from museum_plugin.config.problems import Problems
from museum_plugin.config.read import existing, read_table
from museum_plugin.config.refusal import did_you_mean, refusal, shown
from museum_plugin.config.schema import DatasetConfig, StyleData, SubsetConfig
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

LEVELS = {"G": "[general]", "D": "[[datasets]]", "S": "[[datasets.subsets]]"}


def _any(value: object, _where: str) -> object:
    return value


@dataclass(frozen=True)
class Key:
    """A key of a dataset file: where it may stand and what it holds."""

    levels: str
    """Letters of LEVELS."""
    convert: Callable[[object, str], object]
    default: object = None
    """sd-scripts' own default, for a key that is not honoured yet."""


KEYS: dict[str, Key] = {
    "resolution": Key("GD", to_resolution),
    "batch_size": Key("GD", to_int),
    "enable_bucket": Key("GD", to_bool),
    "min_bucket_reso": Key("GD", to_int),
    "max_bucket_reso": Key("GD", to_int),
    "bucket_reso_steps": Key("GD", to_int),
    "bucket_no_upscale": Key("GD", to_bool),
    "num_repeats": Key("GDS", to_int),
    "caption_extension": Key("GDS", to_text),
    "class_tokens": Key("GDS", to_text),
    "caption_prefix": Key("GDS", to_text),
    "caption_suffix": Key("GDS", to_text),
    "shuffle_caption": Key("GDS", to_bool),
    "keep_tokens": Key("GDS", to_int),
    "caption_separator": Key("GDS", to_text),
    "caption_dropout_rate": Key("GDS", to_float),
    "caption_tag_dropout_rate": Key("GDS", to_float),
    "flip_aug": Key("GDS", to_bool),
    "random_crop": Key("GDS", to_bool),
    "color_aug": Key("GDS", to_bool),
    "image_dir": Key("S", to_path),
    "is_reg": Key("S", to_bool),
    "style": Key("DS", to_name),
    "trigger": Key("DS", to_name),
}
NOT_HONOURED: dict[str, Key] = {
    "validation_split": Key("GD", to_float, 0.0),
    "validation_seed": Key("GD", to_int),
    "network_multiplier": Key("GD", to_float, 1.0),
    "skip_image_resolution": Key("GD", _any),
    "resize_interpolation": Key("GDS", to_text),
    "keep_tokens_separator": Key("GDS", to_text, ""),
    "secondary_separator": Key("GDS", to_text, ""),
    "enable_wildcard": Key("GDS", to_bool, False),
    "face_crop_aug_range": Key("GDS", _any),
    "token_warmup_min": Key("GDS", to_int, 1),
    "token_warmup_step": Key("GDS", to_float, 0.0),
    "custom_attributes": Key("GDS", _any, {}),
    "caption_dropout_every_n_epochs": Key("GDS", to_int, 0),
    "cache_info": Key("GDS", to_bool, False),
    "alpha_mask": Key("S", to_bool, False),
    "metadata_file": Key("S", to_text),
    "conditioning_data_dir": Key("S", to_text),
}
"""Known to sd-scripts, not honoured yet: checked, then listed in one warning. Honouring one moves it to KEYS."""

DATASET_FIELDS = [f.name for f in fields(DatasetConfig) if f.name != "subsets"]
SUBSET_FIELDS = [f.name for f in fields(SubsetConfig)]

Values = Mapping[str, Any]


@dataclass
class _Style:
    """A style while its parts are being collected."""

    trigger: str | None = None
    datasets: list[DatasetConfig] = field(default_factory=list)


@dataclass
class _Reader:
    """Reads one file; remembers which keys it cannot honour."""

    path: Path
    defaults: Values
    styles: dict[str | None, _Style] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    problems: Problems = field(default_factory=Problems)

    def table(self, value: object, level: str, where: str) -> dict[str, Any]:
        """The typed values of one table; None counts as not given."""
        if not isinstance(value, dict):
            raise refusal(f"{self.path}: {where}", value, "a table")
        typed: dict[str, Any] = {}
        for name, raw in value.items():
            if raw is None or (name == "subsets" and level == "D"):
                continue
            with self.problems:
                self._read_key(typed, name, raw, level, where)
        return typed

    def _read_key(self, typed: dict[str, Any], name: str, raw: object, level: str, where: str) -> None:
        key = KEYS.get(name) or NOT_HONOURED.get(name)
        if key is None or level not in key.levels:
            raise self._misplaced(name, level, where, key)
        result = key.convert(raw, f"{self.path}: {where}: {name}")
        if name in KEYS:
            typed[name] = result
        elif result != key.default:
            self.ignored.add(name)

    def _misplaced(self, name: str, level: str, where: str, key: Key | None) -> ConfigError:
        start = f"{self.path}: {where}: {shown(name)}"
        if key is not None:
            places = " or ".join(LEVELS[letter] for letter in key.levels)
            return ConfigError(f"{start} does not belong here; put it in {places}")
        known = [known for known, key in {**KEYS, **NOT_HONOURED}.items() if level in key.levels]
        return ConfigError(f"{start} is unknown{did_you_mean(name, known)}")

    def tables(self, value: object, where: str, example: str) -> list[object]:
        """An array of tables with at least one."""
        if not isinstance(value, list):
            raise refusal(f"{self.path}: {where}", value, f"{example} tables")
        if not value:
            raise ConfigError(f"{self.path}: {where} is empty; at least one {example} is needed")
        return value

    def file(self, content: dict[str, object]) -> None:
        """Read the whole file into `styles`."""
        for name in content:
            if name not in ("general", "datasets"):
                hint = did_you_mean(name, ("general", "datasets"))
                told = f"{self.path}: {shown(name)} is unknown at the top, allowed: general, datasets{hint}"
                self.problems.note(ConfigError(told))
        general = self.table(content.get("general", {}), "G", "general")
        for i, raw in enumerate(self.tables(content.get("datasets", []), "datasets", "[[datasets]]")):
            with self.problems:
                self.dataset(raw, general, f"datasets[{i}]")

    def dataset(self, raw: object, general: Values, where: str) -> None:
        """Read one dataset; subsets of different styles split it."""
        own = self.table(raw, "D", where)
        example = "[[datasets.subsets]] with an image_dir"
        raw_subsets = raw.get("subsets", []) if isinstance(raw, dict) else []
        split: dict[str | None, list[SubsetConfig]] = {}
        for i, raw_subset in enumerate(self.tables(raw_subsets, f"{where}.subsets", example)):
            place = f"{where}.subsets[{i}]"
            subset = self.table(raw_subset, "S", place)
            merged = {**self.defaults, **general, **own, **subset}
            name = merged.get("style")
            with self.problems:
                self._note_trigger(name, merged.get("trigger"), place)
                found = self.subset(subset, merged, place)
                split.setdefault(name, []).append(found)
        merged = {**self.defaults, **general, **own}
        for name, subsets in split.items():
            with self.problems:
                self.styles[name].datasets.append(make_dataset(subsets, merged, f"{self.path}: {where}"))

    def subset(self, own: Values, merged: Values, where: str) -> SubsetConfig:
        """One subset whose folder exists."""
        if "image_dir" not in own:
            raise ConfigError(f"{self.path}: {where}: image_dir is missing; name the folder of the pictures")
        folder = existing(Path(str(own["image_dir"])), self.path.parent)
        if not os.path.isdir(folder):
            beside = "" if folder.is_absolute() else f" (looked in the current folder and in {self.path.parent})"
            raise ConfigError(f'{self.path}: {where}: image_dir: no folder "{folder}"{beside}')
        return make_subset({**merged, "image_dir": folder}, f"{self.path}: {where}")

    def _note_trigger(self, name: str | None, trigger: str | None, where: str) -> None:
        style = self.styles.setdefault(name, _Style())
        trigger = "auto" if trigger and trigger.lower() == "auto" else trigger
        if None not in (trigger, style.trigger) and spoken(str(trigger)) != spoken(str(style.trigger)):
            what = f"style {shown(name)}" if name else "one style"
            raise ConfigError(
                f"{self.path}: {where}: trigger: found {shown(trigger)}, but {what} already has {shown(style.trigger)}"
            )
        style.trigger = style.trigger or trigger

    def result(self) -> tuple[StyleData, ...]:
        """The styles in file order; refuses what cannot be told apart."""
        names = [shown(name) for name in self.styles if name is not None]
        if None in self.styles and names:
            raise ConfigError(f"{self.path}: style is missing in some datasets while others name {', '.join(names)}")
        owners: dict[str, str | None] = {}
        for name, style in self.styles.items():
            if style.trigger in (None, "auto"):
                continue
            other = owners.setdefault(spoken(style.trigger), name)
            if other != name:
                both = f"{shown(other)} and {shown(name)}"
                told = f"{self.path}: trigger {shown(style.trigger)} is used by two styles, {both}"
                self.problems.note(ConfigError(told))
        found = []
        for name, style in self.styles.items():
            with self.problems:
                found.append(StyleData(name, style.trigger, tuple(style.datasets)))
        return tuple(style for style in found if style.datasets)


def spoken(trigger: str) -> str:
    """A trigger as a text encoder reads it: case and runs of spaces do not matter."""
    return " ".join(trigger.casefold().split())


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


def read_dataset_config(path: Path, defaults: Values, problems: Problems | None = None) -> tuple[StyleData, ...]:
    """The styles of a dataset file, in the order of their first mention.

    Args:
        path: a .toml or .json file.
        defaults: typed values of the data flags that were given, by their name in a dataset file.
        problems: where errors go; None raises the first one.
    Returns:
        One StyleData for each style; `name` and `trigger` are None where the file does not say.
    Raises:
        ConfigError: names file, table such as datasets[0].subsets[1], and key.
    """
    if path.suffix.lower() not in (".toml", ".json"):
        raise ConfigError(f'--dataset_config: found "{path}", allowed: a .toml or .json file')
    reader = _Reader(path, defaults, problems=problems or Problems())
    reader.file(read_table(path, "--dataset_config"))
    if reader.ignored:
        log.warning("%s: known to sd-scripts but not honoured yet: %s", path, ", ".join(sorted(reader.ignored)))
    return reader.result()


def read_folder_layout(path: Path, defaults: Values) -> tuple[StyleData, ...]:
    """sd-scripts' layout without a dataset file: a folder of folders named `<repeats>_<class tokens>`.

    Args:
        path: the outer folder.
        defaults: as for `read_dataset_config`.
    Returns:
        One unnamed style with one dataset.
    Raises:
        ConfigError: no such folder, or no inner folder of that name.
    """
    where = f"--train_data_dir {path}"
    if not os.path.isdir(path):
        raise ConfigError(f'--train_data_dir: no folder "{path}"')
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error
    subsets, ignored = [], []
    for folder in folders:
        match = re.fullmatch(r"([0-9]{1,6})(?:_(.*))?", folder.name)
        if match is None:
            ignored.append(folder.name)
            continue
        own = {"image_dir": folder, "num_repeats": int(match[1]), "class_tokens": match[2] or None}
        subsets.append(make_subset({**defaults, **own}, f"{where}: {folder.name}"))
    if ignored:
        log.warning("%s: folders not named <repeats>_<class tokens> are left out: %s", where, ", ".join(ignored))
    if not subsets:
        raise ConfigError(f"{where}: no folder named <repeats>_<class tokens>, such as 10_ink style")
    return (StyleData(None, None, (make_dataset(subsets, defaults, where),)),)
