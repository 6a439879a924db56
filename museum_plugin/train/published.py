"""At the end of a run: the museum as WebUIs want it, in `output_dir`."""

from __future__ import annotations

import logging
import shlex
from functools import partial
from pathlib import Path

from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import MuseumError
from museum_plugin.export.plain_words import learn_plain_words
from museum_plugin.export.publish import Order, publish
from museum_plugin.export.targets import TARGETS
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import content_of

log = logging.getLogger("museum")


def publish_result(run: RunConfig, museum: Museum, path: Path, grid: Path | None) -> tuple[Path, ...]:
    """Write what `export_for` asks for; the museum is safe already, so what is impossible is only told.

    Args:
        museum: attached.
        path: the museum file.
        grid: the picture that stands for it.
    Returns:
        the folders; none for a plain LoRA, which has no triggers.
    """
    if run.output.museum is None or not run.output.export_for:
        return ()
    content, folders = content_of(museum), list[Path]()
    for name in run.output.export_for:
        order = Order(
            museum=path,
            targets=(TARGETS[name],),
            output_dir=run.output.output_dir,
            precision=run.metadata.precision,
            with_ledger=not run.metadata.no_metadata,
            preview=grid,
            plain_words=partial(learn_plain_words, museum, text=TextEncoding.of(run.base)),
        )
        try:
            folders += [done.folder for done in publish(content, order)]
        except MuseumError as error:
            told = ["export", str(path), "--for", name, "--output_dir", str(run.output.output_dir)]
            again = f"python -m museum_plugin {shlex.join(told)}"
            log.warning("export_for: not published: %s (the museum itself is saved; once mended: %s)", error, again)
    return tuple(folders)
