"""What the styles of a museum score now, where something else than a lesson has changed it since the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from museum_plugin.museum.ledger import Ledger

LATEST_SCORES = "latest_scores"
"""Extra field of a ledger: after what they were measured, after which style, and the scores."""


def with_latest_scores(ledger: Ledger, scores: Mapping[str, float], after: str) -> Ledger:
    """The ledger with scores that hold until another style is taught; the record of learning is untouched.

    Args:
        scores: by style; those that the museum does not have are left out.
        after: what has changed the museum, in a word or two.
    """
    names = [record.name for record in ledger.styles]
    known = {name: score for name, score in scores.items() if name in names}
    note = {"after": after, "newest": names[-1] if names else "", "scores": known}
    return replace(ledger, extra={**ledger.extra, LATEST_SCORES: note})


def scores_now(ledger: Ledger) -> dict[str, float]:
    """Style -> its latest score, of the styles whose scores are known."""
    names = {record.name for record in ledger.styles}
    newest = ledger.styles[-1].scores if ledger.styles else {}
    _, later = changed_scores(ledger)
    return {name: score for name, score in {**newest, **later}.items() if name in names}


def changed_scores(ledger: Ledger) -> tuple[str, dict[str, float]]:
    """After what the museum was measured since its newest style, and those scores; "" and none where it was not."""
    note = ledger.extra.get(LATEST_SCORES)
    if not isinstance(note, dict) or not ledger.styles or note.get("newest") != ledger.styles[-1].name:
        return "", {}
    scores = note.get("scores")
    scores = scores if isinstance(scores, dict) else {}
    return str(note.get("after", "")), {n: float(s) for n, s in scores.items() if isinstance(s, (int, float))}
