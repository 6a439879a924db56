"""A room: a chosen set of styles of a museum, as a museum of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from museum_plugin.errors import ConfigError, MuseumFileError
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.ledger import StyleRecord

ROOM_KEY = "museum_room"
"""Metadata key that tells a room from the museum it was taken from."""
_UNTYPEABLE = '<>:"/\\|?*'
"""Characters that `<lora:NAME:1>` or a file name cannot hold."""


def room_of(content: MuseumContent, styles: Sequence[str], museum: str) -> MuseumContent:
    """The museum with these styles alone, in ledger order; the LoRA is shared and stays whole.

    Args:
        styles: names; none means all, and the content as it is.
        museum: the name of the museum, for the record.
    Raises:
        MuseumFileError: no such style; names the nearest.
    """
    ledger = content.ledger
    wanted = {ledger.style(name).name for name in styles} or {record.name for record in ledger.styles}
    if len(wanted) == len(ledger.styles):
        return content
    chosen = tuple(record for record in ledger.styles if record.name in wanted)
    left_out = [record.name for record in ledger.styles if record.name not in wanted]
    with_slot = [record.name for record in chosen if record.words]
    told = {"museum": museum, "museum_id": ledger.museum_id, "styles": [r.name for r in chosen], "left_out": left_out}
    return replace(
        content,
        slots={name: content.slots[name] for name in with_slot},
        base_rows={name: content.base_rows[name] for name in with_slot if content.base_rows},
        ledger=replace(ledger, styles=chosen),
        metadata={**content.metadata, ROOM_KEY: json.dumps(told, ensure_ascii=False)},
    )


def room_name(museum: Path, room: str | None, styles: Sequence[str]) -> str:
    """The output name: what was asked for, else the museum's own, with its styles where it is a room.

    Raises:
        ConfigError: a prompt or a file name cannot hold it.
    """
    name = room if room is not None else "-".join([museum.stem, *dict.fromkeys(styles)])
    check_typeable(name, "--room", "name the export with --room")
    return name


def check_triggers(path: Path, records: Sequence[StyleRecord]) -> None:
    """Refuse what no client could be given.

    Raises:
        MuseumFileError: there is no style, or the trigger of a slot cannot be typed.
    """
    if not records:
        raise MuseumFileError(f"{path}: this museum knows no style yet; teach one with train_museum.py first")
    for record in (record for record in records if record.words):  # an imported style has words of its own
        try:
            check_typeable(record.trigger, f"{path}: style {record.name!r}: trigger", "leave it out with --styles")
        except ConfigError as error:
            raise MuseumFileError(str(error)) from error


def check_typeable(text: str, where: str, advice: str) -> None:
    """Refuse a text that a prompt or a file name cannot hold.

    Raises:
        ConfigError: names the characters.
    """
    bad = [letter for letter in text if letter in _UNTYPEABLE or not letter.isprintable()]
    if bad or not text.strip() or text != text.strip() or text.startswith("."):
        found = f" ({' '.join(map(repr, dict.fromkeys(bad)))})" if bad else ""
        raise ConfigError(
            f"{where}: found {text!r}, which a prompt or a file name cannot hold{found}; it must be visible, without "
            f"any of {_UNTYPEABLE}, not begin with a dot; {advice}"
        )
