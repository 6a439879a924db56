"""sd-scripts' dataset file (.toml or .json, DreamBooth and fine-tuning schema) -> the styles to teach, in order.

A value is looked for in the subset, its dataset, [general], the flags, then the schema's default (sd-scripts' order).
Ours: the keys `style` and `trigger` in [[datasets]] or [[datasets.subsets]].
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from museum_plugin.config import flags
from museum_plugin.config.convert import to_bool, to_float, to_int, to_range, to_resolution
from museum_plugin.config.dataset_keys import FRONT_END_KEYS, KEYS, LEVELS, MEANT, NOT_HONOURED, Key
from museum_plugin.config.dataset_parts import Values, make_dataset, make_subset
from museum_plugin.config.foreign import flattened, refuse_foreign, refuse_foreign_dataset
from museum_plugin.config.problems import Problems
from museum_plugin.config.read import existing, read_table
from museum_plugin.config.refusal import did_you_mean, refusal, shown
from museum_plugin.config.schema import DatasetConfig, StyleData, SubsetConfig
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

UNSET_IF_EMPTY = ("metadata_file", "conditioning_data_dir", "resize_interpolation") + tuple(
    name for name, key in KEYS.items() if key.convert in (to_bool, to_float, to_int, to_range, to_resolution)
)
"""Keys whose empty text counts as not given (front ends write it)."""


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
    front_end: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    """Where the subsets stand that are not shown even once."""
    problems: Problems = field(default_factory=Problems)

    def table(self, value: object, level: str, where: str) -> dict[str, Any]:
        """The typed values of one table; None counts as not given."""
        if not isinstance(value, dict):
            raise refusal(f"{self.path}: {where}", value, "a table")
        typed: dict[str, Any] = {}
        for name, raw in value.items():
            if raw is None or (name == "subsets" and level == "D") or (raw == "" and name in UNSET_IF_EMPTY):
                continue
            with self.problems:
                self._read_key(typed, name, raw, level, where)
        return typed

    def _read_key(self, typed: dict[str, Any], name: str, raw: object, level: str, where: str) -> None:
        if level in FRONT_END_KEYS.get(name, ""):
            self.front_end.add(name)
            return
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
        spelled = name.strip().lower().replace("-", "_")
        meant = MEANT.get(spelled)
        hint = f'; did you mean "{meant}"?' if meant else did_you_mean(spelled, known)
        if not hint and (name in flags.BY_NAME or name in flags.NOT_HONOURED):
            hint = " in a dataset file; it is a flag: give it on the command line or in a --config_file"
        return ConfigError(f"{start} is unknown{hint}")

    def tables(self, value: object, where: str, example: str) -> list[object]:
        """An array of tables with at least one."""
        if not isinstance(value, list):
            raise refusal(f"{self.path}: {where}", value, f"{example} tables")
        if not value:
            raise ConfigError(f"{self.path}: {where} is empty; at least one {example} is needed")
        return value

    def file(self, content: dict[str, object]) -> None:
        """Read the whole file into `styles`."""
        self._refuse_config_file(content)
        for name in content:
            if name not in ("general", "datasets"):
                hint = did_you_mean(name, ("general", "datasets"))
                told = f"{self.path}: {shown(name)} is unknown at the top, allowed: general, datasets{hint}"
                self.problems.note(ConfigError(told))
        general = self.table(content.get("general", {}), "G", "general")
        for i, raw in enumerate(self.tables(content.get("datasets", []), "datasets", "[[datasets]]")):
            with self.problems:
                self.dataset(raw, general, f"datasets[{i}]")

    def _refuse_config_file(self, content: dict[str, object]) -> None:
        misspelled = any(
            isinstance(value, (dict, list)) and did_you_mean(name, ["datasets"]) for name, value in content.items()
        )
        if "datasets" not in content and not misspelled and any(flags.is_known(name) for name in flattened(content)):
            refuse_foreign(self.path, content)
            raise ConfigError(f"{self.path}: no [[datasets]]; if this is a config file, give it with --config_file")

    def dataset(self, raw: object, general: Values, where: str) -> None:
        """Read one dataset; subsets of different styles split it."""
        refuse_foreign_dataset(f"{self.path}: {where}", raw if isinstance(raw, dict) else {})
        own = self.table(raw, "D", where)
        example = "[[datasets.subsets]] with an image_dir"
        raw_subsets = raw.get("subsets", []) if isinstance(raw, dict) else []
        split: dict[str | None, list[SubsetConfig]] = {}
        with_metadata: list[bool] = []
        for i, raw_subset in enumerate(self.tables(raw_subsets, f"{where}.subsets", example)):
            place = f"{where}.subsets[{i}]"
            subset = self.table(raw_subset, "S", place)
            merged = {**self.defaults, **general, **own, **subset}
            name = merged.get("style")
            repeats = merged.get("num_repeats", 1)
            if repeats < 1:  # as in sd-scripts, whose users switch a folder off so
                log.warning("%s: %s: left out, since its num_repeats is %d", self.path, place, repeats)
                self.left_out.append(place)
                continue
            with_metadata.append("metadata_file" in subset)
            with self.problems:
                self._note_trigger(name, merged.get("trigger"), place)
                found = self.subset(subset, merged, place)
                split.setdefault(name, []).append(found)
        if len(set(with_metadata)) > 1:
            told = (
                f"{self.path}: {where}: subsets with and without a metadata_file (fine-tuning and DreamBooth) cannot "
                "share a [[datasets]]; give each kind one of its own"
            )
            self.problems.note(ConfigError(told))
        merged = {**self.defaults, **general, **own}
        for name, subsets in split.items():
            with self.problems:
                self.styles[name].datasets.append(make_dataset(subsets, merged, f"{self.path}: {where}"))

    def subset(self, own: Values, merged: Values, where: str) -> SubsetConfig:
        """One subset whose folder and metadata file exist."""
        metadata = existing(own["metadata_file"], self.path.parent) if "metadata_file" in own else None
        if metadata is not None and not os.path.isfile(metadata):
            raise ConfigError(f'{self.path}: {where}: metadata_file: no file "{metadata}"')
        if "image_dir" not in own and metadata is None:
            raise ConfigError(f"{self.path}: {where}: image_dir is missing; name the folder of the pictures")
        given: Path | None = own.get("image_dir")
        folder = metadata.parent if metadata and not given else existing(Path(str(given)), self.path.parent)
        if not os.path.isdir(folder):
            beside = "" if folder.is_absolute() else f" (looked in the current folder and in {self.path.parent})"
            raise ConfigError(f'{self.path}: {where}: image_dir: no folder "{folder}"{beside}')
        if "conditioning_data_dir" in own:
            merged = {**merged, "conditioning_data_dir": existing(own["conditioning_data_dir"], self.path.parent)}
        return make_subset({**merged, "image_dir": folder, "metadata_file": metadata}, f"{self.path}: {where}")

    def _note_trigger(self, name: str | None, trigger: str | None, where: str) -> None:
        style = self.styles.setdefault(name, _Style())
        trigger = "auto" if trigger and trigger.lower() == "auto" else trigger
        if None not in (trigger, style.trigger) and spoken(str(trigger)) != spoken(str(style.trigger)):
            what = f"style {shown(name)}" if name else "one style"
            raise ConfigError(
                f"{self.path}: {where}: trigger: found {shown(trigger)}, but {what} already has {shown(style.trigger)}"
            )
        style.trigger = style.trigger or trigger

    def report(self) -> None:
        """Say what was taken but has no effect."""
        for name in sorted(self.ignored):
            log.warning("%s: %s: %s", self.path, name, NOT_HONOURED[name].instead)
        if self.front_end:
            names = ", ".join(sorted(self.front_end))
            log.warning("%s: keys of training front ends that mean nothing in a dataset file: %s", self.path, names)

    def result(self) -> tuple[StyleData, ...]:
        """The styles in file order; refuses what cannot be told apart."""
        names = [shown(name) for name in self.styles if name is not None]
        if self.left_out and not self.styles:
            told = f"{self.path}: num_repeats is below 1 in {', '.join(self.left_out)}, so no picture is left"
            self.problems.note(ConfigError(told))
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
                try:
                    found.append(StyleData(name, style.trigger, tuple(style.datasets)))
                except ConfigError as error:
                    raise ConfigError(f"{self.path}: {error}") from error
        return tuple(style for style in found if style.datasets)


def spoken(trigger: str) -> str:
    """A trigger as a text encoder reads it: case and runs of spaces do not matter."""
    return " ".join(trigger.casefold().split())


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
    reader.report()
    return reader.result()
