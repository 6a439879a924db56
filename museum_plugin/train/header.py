"""What the user has to say in the header of the file, and in which form files for publishing are written."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

from PIL import Image

from museum_plugin.config.schema import MetadataConfig, OutputConfig
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import FileForm

log = logging.getLogger("museum")
_KEYS = {
    "title": "modelspec.title",
    "author": "modelspec.author",
    "description": "modelspec.description",
    "license": "modelspec.license",
    "tags": "modelspec.tags",
    "usage_hint": "modelspec.usage_hint",
    "merged_from": "modelspec.merged_from",
    "trigger_phrase": "modelspec.trigger_phrase",
    "preprocessor": "modelspec.preprocessor",
    "is_negative_embedding": "modelspec.is_negative_embedding",
    "comment": "ss_training_comment",
}
_THUMBNAIL = "modelspec.thumbnail"
_LARGEST = 8 * 2**20
"""Bytes of a thumbnail: whoever reads the header reads all of it."""


def chosen_metadata(config: MetadataConfig) -> dict[str, str]:
    """Key of the header -> text, as sd-scripts names them; only what was given.

    Raises:
        ConfigError: the thumbnail is no picture, or too large.
    """
    given = {key: getattr(config, field) for field, key in _KEYS.items()}
    if config.thumbnail is not None:
        given[_THUMBNAIL] = data_url(config.thumbnail) if isinstance(config.thumbnail, Path) else config.thumbnail
    return {key: str(text) for key, text in given.items() if text is not None}


def data_url(path: Path) -> str:
    """A picture file as a text that holds it.

    Raises:
        ConfigError: no such file, no picture, or a large one.
    """
    where = f"metadata_thumbnail: {path}"
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            kind = Image.MIME[str(picture.format)]
    except (OSError, KeyError) as error:
        raise ConfigError(f"{where}: cannot be read as a picture; is there one?") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"{where}: found {len(content)} bytes, allowed: up to {_LARGEST}; give a smaller picture")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def form_for_publishing(config: MetadataConfig) -> FileForm:
    """The form of files of steps and epochs, and of a plain LoRA."""
    return FileForm(config.precision, with_ledger=not config.no_metadata)


def form_of_result(config: MetadataConfig, output: OutputConfig) -> FileForm:
    """The form of the file that a run grows: a museum is always whole, since the next style is taught on it."""
    if output.museum is None:
        return form_for_publishing(config)
    if config.precision != "float" or config.no_metadata:
        log.info(
            "%s itself is whole and in float, since the next style needs it; other files are as asked for",
            output.museum.name,
        )
    return FileForm()
