"""The ledger: the ordered record of the styles inside a museum file, as versioned JSON."""

from __future__ import annotations

import json
import math
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any, NamedTuple, NoReturn

from museum_plugin.config.refusal import did_you_mean, shown
from museum_plugin.errors import MuseumFileError, TrainingError

FORMAT_VERSION = 1
"""Of the museum file; raised with every change that an older Museum would misread."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""Version n -> what turns a ledger of version n into one of version n + 1."""


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
            _dumped(_table(record), f"style {record.name!r}")
        return _dumped(_table(self), "the ledger")

    @classmethod
    def from_json(cls, text: str, *, migrations: Mapping[int, Migration] = MIGRATIONS) -> Ledger:
        """Read a ledger of this version, or of an older one.

        Args:
            text: what `to_json` gave, perhaps in an older Museum.
            migrations: how each older version becomes the next one.
        Raises:
            MuseumFileError: not JSON, a field missing or of the wrong type, or a newer version.
        """
        data = _migrated(_parsed(text), migrations)
        known = _checked(data, _LEDGER, "ledger")
        known["base"] = BaseRecord(**_checked(known["base"], _BASE, "ledger: base"))
        network = {"ranks": {}, "alphas": {}, "shaped_by": "", **known["network"]}
        known["network"] = NetworkRecord(**_checked(network, _NETWORK, "ledger: network"))
        styles = [_checked(s, _STYLE, f"ledger: styles[{i}]") for i, s in enumerate(known["styles"])]
        try:
            known["styles"] = tuple(StyleRecord(**values) for values in styles)
        except ValueError as error:
            raise MuseumFileError(f"ledger: {error}") from error
        return cls(**known)


class _Kind(NamedTuple):
    says: str
    holds: Callable[[Any], bool]
    make: Callable[[Any], Any]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


_TEXT = _Kind("a text", _is_text, str)
_WHOLE = _Kind("a whole number, 0 or more", _is_whole, int)
_NUMBER = _Kind("a number", _is_number, lambda number: number)
_TEXTS = _Kind("a list of texts", _list_of(_is_text), tuple)
_WHOLES = _Kind("a list of whole numbers, 0 or more", _list_of(_is_whole), tuple)
_TABLE = _Kind("a table", _is_table, dict)
_TABLES = _Kind("a list of tables", _list_of(_is_table), list)
_NUMBERS = _Kind("a table of numbers", lambda table: _is_table(table) and all(map(_is_number, table.values())), dict)

_RANKS = _Kind("a table of whole numbers", lambda table: _is_table(table) and all(map(_is_whole, table.values())), dict)

_LEDGER = {"museum_id": _TEXT, "base": _TABLE, "network": _TABLE, "styles": _TABLES, "format_version": _WHOLE}
_BASE = dict.fromkeys(("fingerprint", "family", "prediction_type", "name"), _TEXT)
_NETWORK = {"rank": _WHOLE, "alpha": _NUMBER, "targets": _TEXTS, "ranks": _RANKS, "alphas": _NUMBERS}
_NETWORK["shaped_by"] = _TEXT
_ONLY_IF_ANY = ("ranks", "alphas", "shaped_by")
"""Fields that a file leaves out where they are empty, as files of earlier versions do."""
_STYLE = {
    **dict.fromkeys(("name", "trigger", "taught_at", "data_fingerprint", "method"), _TEXT),
    **dict.fromkeys(("steps", "pictures"), _WHOLE),
    **dict.fromkeys(("weights", "scores"), _NUMBERS),
    **dict.fromkeys(("settings", "signature"), _TABLE),
    "words": _TEXTS,
    "token_ids": _WHOLES,
}


def _checked(data: dict[str, Any], kinds: dict[str, _Kind], where: str) -> dict[str, Any]:
    """The known fields in their types, and all others under "extra"."""
    known = {}
    for name, kind in kinds.items():
        if name not in data:
            raise MuseumFileError(f"{where}: field {name!r} is missing; the file is damaged")
        if not kind.holds(data[name]):
            raise MuseumFileError(f"{where}: {name}: found {shown(data[name])}, allowed: {kind.says}")
        known[name] = kind.make(data[name])
    return {**known, "extra": {name: value for name, value in data.items() if name not in kinds}}


def _migrated(data: dict[str, Any], migrations: Mapping[int, Migration]) -> dict[str, Any]:
    version = data.get("format_version")
    if not isinstance(version, int) or not _is_whole(version):
        raise MuseumFileError(f"ledger: format_version: found {shown(version)}, allowed: {_WHOLE.says}")
    if version > FORMAT_VERSION:
        raise MuseumFileError(
            f"written by a newer Museum: found format version {version}, known up to {FORMAT_VERSION}; update Museum"
        )
    for old in range(version, FORMAT_VERSION):
        if old not in migrations:
            raise MuseumFileError(f"ledger: found format version {old}, which this Museum cannot read any more")
        data = {**migrations[old](data), "format_version": old + 1}
    return data


def _parsed(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MuseumFileError(f"ledger: not valid JSON ({error}); the file is damaged") from error
    if not _is_table(data):
        raise MuseumFileError(f"ledger: found {shown(data)}, allowed: a table; the file is damaged")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that a ledger may hold")


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse_constant(text)


def _table(record: object) -> dict[str, Any]:
    """A record as a table, its extra fields beside the known ones."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}  # type: ignore[arg-type]
    values = {name: value for name, value in values.items() if value or name not in _ONLY_IF_ANY}
    return {**values.pop("extra"), **values}


def _dumped(table: dict[str, Any], where: str) -> str:
    try:
        return json.dumps(table, default=_plain, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise TrainingError(f"{where}: a number in its record is not finite; nothing was written") from error


def _plain(value: object) -> Any:
    """What JSON does not know: records, paths among the flags, numbers of numpy and torch."""
    if isinstance(value, (StyleRecord, BaseRecord, NetworkRecord)):
        return _table(value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a ledger cannot hold {value!r} of type {type(value).__name__}")
