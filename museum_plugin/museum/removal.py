"""A style leaves a museum: its slot and its record go, everything else stays as it is, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from museum_plugin.errors import ConfigError
from museum_plugin.museum.ledger import REMOVED, Ledger

if TYPE_CHECKING:
    from museum_plugin.museum.file import MuseumContent

QUICK, DISTILLED = "quick", "distilled"
"""How a style was removed: from slots and ledger alone, or from the shared LoRA too."""


def without_style(content: MuseumContent, name: str, *, now: datetime | None = None) -> MuseumContent:
    """The museum without one of its styles; LoRA, other slots and other records are untouched.

    Args:
        now: what the ledger notes as the time; None: the present.
    Raises:
        MuseumFileError: no such style.
        ConfigError: it is the only one.
    """
    slots, base_rows = (
        {style: rows for style, rows in each.items() if style != name} for each in (content.slots, content.base_rows)
    )
    return replace(content, slots=slots, base_rows=base_rows, ledger=ledger_without(content.ledger, name, now=now))


def ledger_without(
    ledger: Ledger,
    name: str,
    *,
    how: str = QUICK,
    scores: Mapping[str, float] | None = None,
    now: datetime | None = None,
) -> Ledger:
    """The ledger without a style, with a note of what was removed and when.

    The words of the style are retired: no later style of this museum gets them. In files and embeddings that were
    published before they still mean the removed style, and the shared LoRA may still know it by the plain word.
    Source: ours.

    Args:
        scores: of the styles that stay, measured after the removal; None: what the removed style's record says of them,
            if it was the newest, since the LoRA has not changed.
        now: the time that is noted; None: the present.
    Raises:
        MuseumFileError: no such style.
        ConfigError: it is the only one.
    """
    gone = ledger.style(name)
    left = tuple(record for record in ledger.styles if record.name != name)
    if not left:
        raise ConfigError(f"style {name!r} is the only one of this museum; to be rid of it, delete the file")
    if scores is None:
        last = gone if ledger.styles[-1] is gone else left[-1]
        scores = {record.name: last.scores[record.name] for record in left if record.name in last.scores}
        scores |= _measured_later(ledger)
    note: dict[str, Any] = {
        "name": name,
        "trigger": gone.trigger,
        "words": list(gone.reserved_words),
        "taught_at": gone.taught_at,
        "removed_at": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "how": how,
        "newest_left": left[-1].name,
        "scores": {style: score for style, score in scores.items() if style != name},
    }
    return replace(ledger, styles=left, extra={**ledger.extra, REMOVED: [*ledger.removed, note]})


def scores_now(ledger: Ledger) -> dict[str, float]:
    """Style -> its latest score: after the newest style, or after what was removed since then."""
    newest = ledger.styles[-1].scores if ledger.styles else {}
    names = {record.name for record in ledger.styles}
    return {name: score for name, score in {**newest, **_measured_later(ledger)}.items() if name in names}


def _measured_later(ledger: Ledger) -> dict[str, float]:
    """What was noted of the styles when one was removed, if no other was taught since."""
    if not ledger.removed or not ledger.styles:
        return {}
    note = ledger.removed[-1]
    scores = note.get("scores")
    if note.get("newest_left") != ledger.styles[-1].name or not isinstance(scores, dict):
        return {}
    return {name: float(score) for name, score in scores.items() if isinstance(score, (int, float))}
