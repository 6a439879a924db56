"""What `show` says of one style, and of the scores of all."""

from __future__ import annotations

import json
from typing import Any

from museum_plugin.cli.list_styles import kept_text, minute, score
from museum_plugin.cli.text_lines import counted, entry, indented, table
from museum_plugin.judge.matrix import average_forgetting, backward_transfer
from museum_plugin.museum.latest_scores import changed_scores, scores_now
from museum_plugin.museum.ledger import AS_LEARNED, Ledger

_LONGEST_VALUE = 400
"""Letters of one value; `--json` shows all of it."""
_EMPTY: tuple[object, ...] = (None, "", [], {})


def style_lines(ledger: Ledger, name: str) -> list[str]:
    """All about one style.

    Raises:
        MuseumFileError: no such style.
    """
    record = ledger.style(name)
    number = ledger.styles.index(record) + 1
    tokens = ", ".join(f"{word} = token {i}" for word, i in zip(record.words, record.token_ids, strict=True))
    taught = f"{minute(record.taught_at)} UTC, {counted(record.steps, 'step')}, {counted(record.pictures, 'picture')}"
    weights = ", ".join(f"{term} {weight:g}" for term, weight in record.weights.items())
    values = {key: value for key, value in record.settings.items() if value not in _EMPTY}
    unset = sorted(record.settings.keys() - values.keys())
    return [
        *entry("style", f"{record.name}, {number} of {len(ledger.styles)}"),
        *entry("trigger", record.trigger),
        *entry("slot", tokens),
        *entry("taught", taught),
        *entry("pictures", f"fingerprint {record.data_fingerprint}"),
        *entry("method", record.method + (f", weights: {weights}" if weights else "")),
        *entry("signature", _numbers(record.signature)),
        *entry("as learned", _numbers(record.extra.get(AS_LEARNED, {}))),
        *[line for key, value in record.extra.items() if key != AS_LEARNED for line in entry(key, *_texts(value))],
        "",
        "score after each style since",
        *indented(_score_lines(ledger, number - 1)),
        "",
        "settings",
        *indented(table([(key, _text(value)) for key, value in sorted(values.items())]) if values else ["none"]),
        *indented(entry("not set", ", ".join(unset)) if unset else []),
    ]


def matrix_lines(ledger: Ledger) -> list[str]:
    """The retention matrix as text, with a row of what is kept; nothing where there is no style."""
    names, matrix = ledger.retention_matrix()
    if not names:
        return []
    blank = [""] * len(names)
    rows = [["", *names]]
    rows += [[f"after {name}", *map(score, row), *blank[len(row) :]] for name, row in zip(names, matrix, strict=True)]
    latest = [scores_now(ledger).get(name) for name in names]
    after, _ = changed_scores(ledger)
    if after:
        rows.append([after, *map(score, latest)])
    kept = [kept_text(latest[i], matrix[i][i]) for i in range(len(names) - 1)]
    lines = table([*rows, ["kept now", *kept, "new"]], right=range(1, len(names) + 1))
    whole = [[value for value in row if value is not None] for row in matrix]
    if len(names) > 1 and [len(row) for row in whole] == [len(row) for row in matrix]:
        forgetting, transfer = average_forgetting(whole), backward_transfer(whole)
        lines.append(f"average forgetting {forgetting:.2f}, backward transfer {transfer:+.2f}")
    return lines


def json_line(value: object) -> str:
    """A value of the ledger in one line."""
    return json.dumps(value, ensure_ascii=False)


def _score_lines(ledger: Ledger, index: int) -> list[str]:
    names, matrix = ledger.retention_matrix()
    later = range(index, len(names))
    rows = [
        (f"after {names[i]}", score(matrix[i][index]), kept_text(matrix[i][index], matrix[index][index])) for i in later
    ]
    return table([("", "score", "kept"), *rows], right=(1, 2))


def _numbers(held: dict[str, Any]) -> str:
    """What a table holds, without its hundreds of numbers."""
    parts = [f"{name} of {counted(_count(value), 'number')}" for name, value in held.items()]
    return ", ".join(parts) + " (--json shows them)" if parts else "none"


def _count(value: object) -> int:
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, list) else 1


def _texts(value: object) -> list[str]:
    """A list of texts one by one, anything else in one piece."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    return [_text(value)]


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json_line(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
