"""The ledger: the ordered record of the styles inside a museum file."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.ledger_json import (
    BASE,
    FORMAT_VERSION,
    LEDGER,
    MIGRATIONS,
    NETWORK,
    STYLE,
    Migration,
    as_table,
    checked,
    dumped,
    migrated,
    parsed,
)

REMOVED = "removed"
"""Extra field of a ledger: a table for each style that was taken out, oldest first."""

AS_LEARNED = "as_learned"
"""Extra field of a style's record: what it did right after it was learned; see `judge/as_learned.py`."""


@dataclass(frozen=True)
class StyleRecord:
    """One style that was taught."""

    name: str
    trigger: str
    """The phrase that the user types."""
    words: tuple[str, ...]
    """Its slot words, one for each vector of the slot; none where the style came with another LoRA, which has no slot:
    there the words of the trigger mean what they mean to the base."""
    token_ids: tuple[int, ...]
    taught_at: str
    """ISO 8601, UTC."""
    steps: int
    """Optimizer steps."""
    pictures: int
    data_fingerprint: str
    method: str
    weights: dict[str, float]
    """Term of the loss -> its weight."""
    settings: dict[str, Any]
    """The flags of the run; JSON values."""
    scores: dict[str, float] = field(default_factory=dict)
    """Style -> its score right after this style was learned."""
    signature: dict[str, Any] = field(default_factory=dict)
    """The judge's numbers of the style; JSON values."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields this Museum does not know; kept as they are."""

    def __post_init__(self) -> None:
        if len(self.words) != len(self.token_ids):
            raise ValueError(f"style {self.name!r}: {len(self.words)} words but {len(self.token_ids)} token_ids")

    @property
    def reserved_words(self) -> tuple[str, ...]:
        """Words that no other style of its museum may take."""
        return self.words or tuple(self.trigger.lower().split())


@dataclass(frozen=True)
class BaseRecord:
    """The base model a museum belongs to."""

    fingerprint: str
    family: str
    """sd1 | sd2 | sdxl."""
    prediction_type: str
    """epsilon | v_prediction."""
    name: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkRecord:
    """The shape of the shared LoRA."""

    rank: int
    alpha: float
    """scale = alpha / rank."""
    targets: tuple[str, ...]
    """The kohya key of every module that has a LoRA layer."""
    ranks: dict[str, int] = field(default_factory=dict)
    """Key -> its rank, where it is not `rank`."""
    alphas: dict[str, float] = field(default_factory=dict)
    """Key -> its alpha, where it is not `alpha`."""
    shaped_by: str = ""
    """"import" or "resize": the layers are no longer those that flags describe, and runs take them as they are."""
    extra: dict[str, Any] = field(default_factory=dict)

    def shape(self, target: str) -> tuple[int, float]:
        """Rank and alpha of a module's layer."""
        return self.ranks.get(target, self.rank), self.alphas.get(target, self.alpha)


@dataclass(frozen=True)
class Ledger:
    """Everything about a museum that is not a tensor."""

    museum_id: str
    """32 hex digits, the same for all versions of one museum; decides which slot words it takes first."""
    base: BaseRecord
    network: NetworkRecord
    styles: tuple[StyleRecord, ...] = ()
    """In the order in which they were taught."""
    format_version: int = FORMAT_VERSION
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse two styles under one name, and a slot word that two styles share.

        Raises:
            MuseumFileError: naming both.
        """
        owners: dict[str, str] = {}
        for number, record in enumerate(self.styles):
            if record.name in {earlier.name for earlier in self.styles[:number]}:
                raise MuseumFileError(f"style {record.name!r} is already in this museum; choose another name")
            for word in record.words:
                if word in owners:
                    raise MuseumFileError(
                        f"style {record.name!r}: slot word {word!r} already belongs to style {owners[word]!r}; "
                        "choose another trigger"
                    )
                owners[word] = record.name

    @classmethod
    def new(cls, base: BaseRecord, network: NetworkRecord) -> Ledger:
        """The ledger of a museum that knows no style yet, under a fresh id."""
        return cls(museum_id=uuid.uuid4().hex, base=base, network=network)

    def style(self, name: str) -> StyleRecord:
        """The record of a style.

        Raises:
            MuseumFileError: no such style; names the nearest one.
        """
        known = [record.name for record in self.styles]
        if name not in known:
            listed = ", ".join(known) or "none"
            raise MuseumFileError(f"no style {name!r} in this museum{did_you_mean(name, known)}; it has: {listed}")
        return self.styles[known.index(name)]

    @property
    def removed(self) -> list[dict[str, Any]]:
        """What is noted of the styles that were taken out, oldest first."""
        notes = self.extra.get(REMOVED)
        return [note for note in notes if isinstance(note, dict)] if isinstance(notes, list) else []

    @property
    def retired_words(self) -> tuple[str, ...]:
        """Words of removed styles, which no other style gets: in published files they still mean what they meant."""
        lists = [note.get("words") for note in self.removed]
        return tuple(word for words in lists if isinstance(words, list) for word in words if isinstance(word, str))

    def with_style(self, record: StyleRecord) -> Ledger:
        """This ledger with one more style at its end.

        Raises:
            MuseumFileError: its name or one of its words is taken.
        """
        return replace(self, styles=(*self.styles, record))

    def retention_matrix(self) -> tuple[tuple[str, ...], tuple[tuple[float | None, ...], ...]]:
        """R[i][j]: the score of style j right after style i was learned.

        Returns:
            names in order, and the lower triangle: row i has i + 1 entries; None where no score was recorded.
        """
        names = tuple(record.name for record in self.styles)
        rows = tuple(tuple(record.scores.get(name) for name in names[: i + 1]) for i, record in enumerate(self.styles))
        return names, rows

    def to_json(self) -> str:
        """The ledger as text: the same for equal ledgers, whatever the order of keys in their tables.

        Raises:
            TrainingError: a number in it is not finite; names the style.
        """
        for record in self.styles:
            dumped(as_table(record), f"style {record.name!r}")
        return dumped(as_table(self), "the ledger")

    @classmethod
    def from_json(cls, text: str, *, migrations: Mapping[int, Migration] = MIGRATIONS) -> Ledger:
        """Read a ledger of this version, or of an older one.

        Args:
            text: what `to_json` gave, perhaps in an older Museum.
            migrations: how each older version becomes the next one.
        Raises:
            MuseumFileError: not JSON, a field missing or of the wrong type, or a newer version.
        """
        data = migrated(parsed(text), migrations)
        known = checked(data, LEDGER, "ledger")
        known["base"] = BaseRecord(**checked(known["base"], BASE, "ledger: base"))
        network = {"ranks": {}, "alphas": {}, "shaped_by": "", **known["network"]}
        known["network"] = NetworkRecord(**checked(network, NETWORK, "ledger: network"))
        styles = [checked(s, STYLE, f"ledger: styles[{i}]") for i, s in enumerate(known["styles"])]
        try:
            known["styles"] = tuple(StyleRecord(**values) for values in styles)
        except ValueError as error:
            raise MuseumFileError(f"ledger: {error}") from error
        return cls(**known)
