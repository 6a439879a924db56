"""A style leaves a museum: its slot and its record go, everything else stays as it is, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from museum_plugin.errors import ConfigError
from museum_plugin.museum.latest_scores import scores_now, with_latest_scores
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
        scores: of the styles that stay, measured after the removal; None: as they were, since the LoRA has not changed.
        now: the time that is noted; None: the present.
    Raises:
        MuseumFileError: no such style.
        ConfigError: it is the only one.
    """
    gone = ledger.style(name)
    left = tuple(record for record in ledger.styles if record.name != name)
    if not left:
        raise ConfigError(f"style {name!r} is the only one of this museum; to be rid of it, delete the file")
    note: dict[str, Any] = {
        "name": name,
        "trigger": gone.trigger,
        "words": list(gone.reserved_words),
        "taught_at": gone.taught_at,
        "removed_at": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "how": how,
    }
    after = replace(ledger, styles=left, extra={**ledger.extra, REMOVED: [*ledger.removed, note]})
    return with_latest_scores(after, scores_now(ledger) if scores is None else scores, f"without {name}")
