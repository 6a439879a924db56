"""What the user has to say in the header of the file, and in which form files for publishing are written."""

from __future__ import annotations

import logging

from museum_plugin.config.schema import MetadataConfig, OutputConfig
from museum_plugin.museum.file import FileForm

log = logging.getLogger("museum")
_KEYS = {
    "title": "modelspec.title",
    "author": "modelspec.author",
    "description": "modelspec.description",
    "license": "modelspec.license",
    "tags": "modelspec.tags",
    "comment": "ss_training_comment",
}


def chosen_metadata(config: MetadataConfig) -> dict[str, str]:
    """Key of the header -> text, as sd-scripts names them; only what was given."""
    given = {key: getattr(config, field) for field, key in _KEYS.items()}
    return {key: str(text) for key, text in given.items() if text is not None}


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
