"""Where a run's flags say that its pictures are: a dataset file, a metadata file, or folders of folders."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from museum_plugin.config.dataset_parts import make_dataset, make_subset
from museum_plugin.config.dataset_toml import read_dataset_config
from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import StyleData, SubsetConfig
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


def read_sources(
    values: Mapping[str, Any], defaults: Mapping[str, Any], problems: Problems | None = None
) -> tuple[tuple[StyleData, ...], Path]:
    """The styles to teach, and the file or folder that names them.

    --dataset_config is read where it is given, else --in_json, else --train_data_dir (sd-scripts' order).

    Args:
        values: the given flags by name.
        defaults: as for `read_dataset_config`.
        problems: where errors go; None raises the first one.
    Raises:
        ConfigError: none of these flags is given, or what it names cannot be read.
    """
    source, metadata, folder, prior = (
        values.get(name) for name in ("dataset_config", "in_json", "train_data_dir", "reg_data_dir")
    )
    if source is not None:
        _warn_of_ignored(values, "dataset_config", ("in_json", "train_data_dir", "reg_data_dir"))
        return read_dataset_config(source, defaults, problems), source
    if metadata is not None:
        _warn_of_ignored(values, "in_json", ("reg_data_dir",))
        return read_metadata_layout(metadata, folder, defaults), folder or metadata
    if folder is not None:
        return read_folder_layout(folder, defaults, prior=prior), folder
    raise ConfigError("no pictures to learn from: give --dataset_config (a .toml or .json file) or --train_data_dir")


def _warn_of_ignored(values: Mapping[str, Any], winner: str, losers: tuple[str, ...]) -> None:
    for name in (name for name in losers if name in values):
        log.warning("--%s is ignored because --%s is given", name, winner)


def read_folder_layout(path: Path, defaults: Mapping[str, Any], *, prior: Path | None = None) -> tuple[StyleData, ...]:
    """sd-scripts' layout without a dataset file: a folder of folders named `<repeats>_<class tokens>`.

    Args:
        path: the outer folder (--train_data_dir).
        defaults: as for `read_dataset_config`.
        prior: the outer folder of regularisation pictures (--reg_data_dir); one without inner folders is told and left
            out, since front ends make an empty one.
    Returns:
        One unnamed style with one dataset.
    Raises:
        ConfigError: no such folder, or no inner folder of that name in `path`.
    """
    where = f"--train_data_dir {path}"
    subsets = _counted_folders(path, "--train_data_dir", defaults)
    if not subsets:
        raise ConfigError(f"{where}: no folder named <repeats>_<class tokens>, such as 10_ink style")
    if prior is not None:
        found = _counted_folders(prior, "--reg_data_dir", {**defaults, "is_reg": True})
        if not found:
            log.warning("--reg_data_dir %s: no folder named <repeats>_<class tokens>; nothing of it is used", prior)
        subsets += found
    return (StyleData(None, None, (make_dataset(subsets, defaults, where),)),)


def read_metadata_layout(metadata: Path, pictures: Path | None, defaults: Mapping[str, Any]) -> tuple[StyleData, ...]:
    """Captions in a metadata file (--in_json), the pictures in one folder (--train_data_dir) or where the file says.

    Args:
        metadata: .json or .jsonl.
        pictures: the folder of the pictures; None: the one of the metadata file.
        defaults: as for `read_dataset_config`.
    Returns:
        One unnamed style with one dataset.
    Raises:
        ConfigError: no such file or folder.
    """
    where = f"--in_json {metadata}"
    if not os.path.isfile(metadata):
        raise ConfigError(f'--in_json: no file "{metadata}"')
    if pictures is not None and not os.path.isdir(pictures):
        raise ConfigError(f'--train_data_dir: no folder "{pictures}"')
    own = {"image_dir": pictures or metadata.parent, "metadata_file": metadata}
    subset = make_subset({**defaults, **own}, where)
    return (StyleData(None, None, (make_dataset([subset], defaults, where),)),)


def _counted_folders(path: Path, flag: str, defaults: Mapping[str, Any]) -> list[SubsetConfig]:
    """A subset for each inner folder that begins with a number, by name."""
    where = f"{flag} {path}"
    if not os.path.isdir(path):
        raise ConfigError(f'{flag}: no folder "{path}"')
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error
    subsets, ignored = [], []
    for folder in folders:
        match = re.fullmatch(r"([0-9]{1,6})(?:_(.*))?", folder.name)
        if match is None or int(match[1]) == 0:
            ignored.append(folder.name)
            continue
        own = {"image_dir": folder, "num_repeats": int(match[1]), "class_tokens": match[2] or None}
        subsets.append(make_subset({**defaults, **own}, f"{where}: {folder.name}"))
    if ignored:
        log.warning("%s: folders not named <repeats>_<class tokens> are left out: %s", where, ", ".join(ignored))
    return subsets
