"""sd-scripts' metadata files (fine-tuning schema): pictures with captions and tags in one .json or .jsonl file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from museum_plugin.config.problems import Problems
from museum_plugin.config.refusal import shown
from museum_plugin.config.schema import SubsetConfig
from museum_plugin.data.images import extensions
from museum_plugin.errors import DataError

_LISTED = 10


def metadata_captions(subset: SubsetConfig, file: Path, problems: Problems | None = None) -> dict[Path, str]:
    """Every picture that a metadata file names, by path, with its caption.

    A key is a path, or one without extension as sd-scripts' own tools write it; relative ones lie in `image_dir`.
    Sizes in the file are not used: pictures are measured.

    Args:
        problems: where errors go; None raises the first one. A picture that is missing or wrong is left out.
    Raises:
        DataError: the file cannot be read or has another form, or a picture is missing; names ten at most.
    """
    problems = problems or Problems()
    found: dict[Path, str] = {}
    missing = []
    entries = _entries(file)
    for key, entry in entries.items():
        picture = _locate(subset.image_dir / key)
        if picture is None:
            missing.append(key)
            continue
        with problems:
            found[picture] = joined_caption(_text(entry, "caption", file, key), _text(entry, "tags", file, key), subset)
    if missing:
        listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        told = (
            f"{file}: {len(missing)} of {len(entries)} pictures are not in {subset.image_dir}: {listed}; "
            "correct image_dir or take them out of the file"
        )
        problems.note(DataError(told))
    if not entries:
        raise DataError(f"{file}: this metadata file names no picture")
    return dict(sorted(found.items()))


def joined_caption(caption: str, tags: str, subset: SubsetConfig) -> str:
    r"""Caption and tags with `caption_separator` between them; with `enable_wildcard` every line gets the tags.

    Source: sd-scripts. Ours: without wildcards the first line gets the tags, which else would be lost with the last
    one; tags without a caption are the caption in either case.

    Args:
        caption, tags: lines separated by "\n"; "" where there are none.
    """
    separator = subset.caption_separator
    tags = separator.join(line.strip() for line in tags.split("\n") if line.strip())
    lines = [line.strip() for line in caption.split("\n") if line.strip()]
    lines = lines if subset.enable_wildcard else lines[:1]
    if not tags:
        return "\n".join(lines)
    return "\n".join(f"{line}{separator}{tags}" for line in lines) or tags


def _entries(file: Path) -> dict[str, Mapping[str, Any]]:
    """What the file says of each picture, by key."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise DataError(f"{file}: the metadata file cannot be read ({error.strerror})") from None
    if file.suffix.lower() == ".jsonl":
        return _lines(file, text)
    content = _parse(text, str(file))
    if not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(f'{file}: allowed: {{"picture": {{"caption": "...", "tags": "..."}}, ...}}')
    return content


def _lines(file: Path, text: str) -> dict[str, Mapping[str, Any]]:
    entries: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        entry = _parse(line, f"{file}, line {number}")
        key = entry.get("image_path")
        if not isinstance(key, str) or not key:
            raise DataError(f"{file}, line {number}: image_path: found {shown(key)}, allowed: the path of a picture")
        entries[key] = entry
    return entries


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "tables nested too deep" if isinstance(error, RecursionError) else error
        raise DataError(f"{where}: not valid JSON: {reason}") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: found {shown(content)}, allowed: a table of keys and values")
    return content


def _text(entry: Mapping[str, Any], name: str, file: Path, key: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{file}: {key}: {name}: found {shown(value)}, allowed: a text")
    return value


def _locate(path: Path) -> Path | None:
    """The file itself, else the picture of this stem; None where there is neither."""
    endings = ("", *extensions(), *(extension.upper() for extension in extensions()))
    candidates = (path.with_name(path.name + ending) for ending in endings)
    try:
        return next((candidate for candidate in candidates if candidate.is_file()), None)
    except (OSError, ValueError):  # a name that no file can have
        return None
