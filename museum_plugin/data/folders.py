"""What folders of pictures hold."""

from __future__ import annotations

import logging
from pathlib import Path

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.buckets import Size
from museum_plugin.data.captions import caption_file
from museum_plugin.data.images import EXTENSIONS, check_pictures, list_pictures, picture_size
from museum_plugin.errors import DataError

log = logging.getLogger("museum")


def find_pictures(folders: list[Path], problems: Problems) -> dict[Path, list[Path]]:
    """The pictures of each folder; one that cannot be read or has none is noted.

    Raises:
        DataError: where errors are not gathered.
    """
    found = {}
    for folder in folders:
        with problems:
            found[folder] = list_pictures(folder)
            if not found[folder]:
                raise DataError(
                    f"image_dir: no picture in {folder}; looked for {', '.join(EXTENSIONS)} (not in folders below it)"
                )
    return found


def picture_sizes(folders: dict[Path, list[Path]], problems: Problems) -> dict[Path, dict[Path, Size]]:
    """(width, height) of each picture of each folder; one that cannot be measured is noted and left out.

    Raises:
        DataError: where errors are not gathered; names all pictures that cannot be read, ten at most.
    """
    sizes: dict[Path, dict[Path, Size]] = {folder: {} for folder in folders}
    try:
        for folder, paths in folders.items():
            for path in paths:
                with problems:
                    sizes[folder][path] = picture_size(path)
    except DataError:
        check_pictures(path for paths in folders.values() for path in paths)  # names them all, not only the first
        raise
    return sizes


def warn_of_missing_captions(paths: list[Path], subset: SubsetConfig) -> None:
    """Warn where pictures have no caption file and nothing stands for it."""
    missing = [path for path in paths if not caption_file(path, subset).exists()]
    if not missing or subset.class_tokens:
        return
    hint = next((suffix for suffix in (".txt", ".caption") if missing[0].with_suffix(suffix).exists()), None)
    log.warning(
        "%s: %d of %d pictures have no caption file (%s) and learn with an empty caption; %s",
        subset.image_dir,
        len(missing),
        len(paths),
        caption_file(missing[0], subset).name,
        f'did you mean caption_extension = "{hint}"?' if hint else "set class_tokens to give them one",
    )
