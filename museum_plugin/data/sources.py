"""The pictures of a subset with their captions, from a folder or a metadata file."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.buckets import Size
from museum_plugin.data.captions import caption_file, read_caption
from museum_plugin.data.images import check_pictures, extensions, list_pictures, picture_size
from museum_plugin.data.metadata_file import metadata_captions
from museum_plugin.errors import DataError

log = logging.getLogger("museum")


def captioned_pictures(subset: SubsetConfig, problems: Problems | None = None) -> dict[Path, str]:
    """Every picture of a subset with its caption as written: sorted by path.

    Args:
        problems: where errors go; None raises the first one. A picture whose caption is wrong is left out.
    Raises:
        DataError: there is no picture, or a caption or the metadata file cannot be read.
    """
    if subset.metadata_file is not None:
        return metadata_captions(subset, subset.metadata_file, problems)
    paths = list_pictures(subset.image_dir)
    if not paths:
        raise DataError(
            f"image_dir: no picture in {subset.image_dir}; looked for {', '.join(extensions())} "
            "(not in folders below it)"
        )
    _warn_of_missing_captions(paths, subset)
    captions, problems = {}, problems or Problems()
    for path in paths:
        with problems:
            captions[path] = read_caption(path, subset)
    return captions


def picture_sizes(paths: Iterable[Path], problems: Problems | None = None) -> dict[Path, Size]:
    """(width, height) in pixels of each picture.

    Args:
        problems: where errors go; None raises them. A picture that cannot be measured is left out.
    Raises:
        DataError: names all pictures that cannot be read, ten at most.
    """
    paths, sizes, problems = list(dict.fromkeys(paths)), {}, problems or Problems()
    try:
        for path in paths:
            with problems:
                sizes[path] = picture_size(path)
    except DataError:
        check_pictures(paths)  # names them all, not only the first
        raise
    return sizes


def _warn_of_missing_captions(paths: list[Path], subset: SubsetConfig) -> None:
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
