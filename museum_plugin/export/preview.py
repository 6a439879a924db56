"""The picture that stands for a museum."""

from __future__ import annotations

import re
from pathlib import Path

from museum_plugin.config.read import existing
from museum_plugin.errors import OutputError
from museum_plugin.museum.ledger import Ledger

_PNG = b"\x89PNG\r\n\x1a\n"


def preview_bytes(chosen: Path | None, museum: Path, ledger: Ledger) -> bytes | None:
    """A chosen picture; else the newest grid of the museum's own runs, if it is found; else None.

    Args:
        chosen: what the user named.
        museum: grids are looked for beside it, and in the `output_dir` that its styles were taught with.
    Raises:
        OutputError: the chosen picture cannot be read, or is no PNG.
    """
    path = chosen or newest_grid(museum, ledger)
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        if chosen is None:
            return None
        raise OutputError(f"--preview: {path} cannot be read: {error.strerror or error}") from error
    if chosen is not None and not data.startswith(_PNG):
        raise OutputError(f"--preview: {path} is no PNG picture")
    return data


def newest_grid(museum: Path, ledger: Ledger) -> Path | None:
    """The grid of the highest number; of equals the one in the folder of the newest style."""
    folders = [museum.parent]
    for record in ledger.styles:
        told = record.settings.get("output_dir")
        if isinstance(told, str) and told:
            folders.append(existing(Path(told), museum.parent))
    pattern = re.compile(rf"{re.escape(museum.stem)}-(\d+)-.+-grid\.png")
    found: list[tuple[int, int, Path]] = []
    for place, folder in enumerate(folders):
        if folder.is_dir():
            matches = ((pattern.fullmatch(entry.name), entry) for entry in folder.iterdir())
            found += [(int(match[1]), place, entry) for match, entry in matches if match]
    return max(found)[2] if found else None
