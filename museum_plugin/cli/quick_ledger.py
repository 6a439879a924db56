"""The ledger of a museum file in a few milliseconds: torch, which takes seconds to load, is not needed for it."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.metadata import LEDGER_KEY


def ledger_of(path: Path) -> Ledger:
    """What `museum.file.read_ledger` gives, and for a file that it refuses the same error, after loading torch.

    Raises:
        MuseumFileError: missing, damaged, without a ledger, or too new; says how to go on.
    """
    try:
        with safe_open(path, "np") as file:
            return Ledger.from_json(file.metadata()[LEDGER_KEY])
    except (SafetensorError, MuseumFileError, OSError, KeyError, TypeError):
        from museum_plugin.museum.file import read_ledger

        return read_ledger(path)
