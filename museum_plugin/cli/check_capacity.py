"""What `check` says of the room that is left in a museum: only what is measured, no guess at what a style will cost."""

from __future__ import annotations

from pathlib import Path

from museum_plugin.base.folder import BaseOutline
from museum_plugin.cli.text_lines import counted
from museum_plugin.config.schema import RunConfig
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.file import MuseumContent, read_museum
from museum_plugin.museum.fullness import Fullness, fullness
from museum_plugin.museum.triggers import known_words


def capacity_of(run: RunConfig, base: BaseOutline | None) -> tuple[str, ...]:
    """Lines about the museum that grows; none where there is none, or it cannot be read."""
    path = run.output.museum
    if path is None or not path.exists():
        return ()
    try:
        content = read_museum(path)
    except MuseumFileError:  # told by whoever opens the museum
        return ()
    found = fullness(content)
    if found is None:
        return ()
    return (*used_lines(found), *_words(content, base), *_ways(path, content))


def used_lines(found: Fullness) -> list[str]:
    """What of the rank is in use."""
    return [
        f"effective rank {found.effective_rank:.1f} of {found.rank:.3g} ({found.least:.1f} to {found.most:.1f} in "
        f"{counted(found.layers, 'layer')})",
        f"99 % of the energy in {found.directions:.1f} directions of a layer, on average",
        "this is what is in use, not what the next style costs the others: --forecast says that",
    ]


def _words(content: MuseumContent, base: BaseOutline | None) -> list[str]:
    """How many slot words are left for `--trigger auto`."""
    if base is None:
        return []
    ledger = content.ledger
    taken = {word for record in ledger.styles for word in record.reserved_words} | set(ledger.retired_words)
    known = known_words(base)
    return [f"{sum(word not in taken for word in known)} of {len(known)} slot words are free"]


def _ways(path: Path, content: MuseumContent) -> list[str]:
    twice = 2 * content.ledger.network.rank
    return [
        f"more room: resize {path} --rank {twice}",
        "no picture changes by that; or begin another --museum, or take a style out: `remove`",
    ]
