"""What a museum will do with each style of a run: teach it, or skip what it knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError
from museum_plugin.museum.ledger import Ledger, StyleRecord
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.triggers import Reader, choose_words

log = logging.getLogger("museum")


@dataclass(frozen=True)
class PlannedStyle:
    """A style of the run, and what it will be to the museum."""

    style: StyleData
    dataset: StyleDataset
    words: tuple[str, ...] = ()
    """Its slot words; none for a plain LoRA, or where they cannot be given."""
    is_taught: bool = False
    """The museum has it already, from the same pictures: it is skipped."""


def styles_to_teach(
    museum: Museum, run: RunConfig, datasets: list[StyleDataset]
) -> list[tuple[StyleData, StyleDataset]]:
    """The styles of the run that the museum does not know yet, in order.

    Raises:
        ConfigError: the museum knows another style of this name, or a trigger is not possible.
    """
    pairs = list(zip(run.styles, datasets, strict=True))
    plans = plan_styles(museum.ledger, museum.base, pairs, run.slot.vectors, Problems())
    for plan in plans:
        if plan.is_taught:
            log.info("%s is in the museum already: skipped", plan.style.name)
    return [(plan.style, plan.dataset) for plan in plans if not plan.is_taught]


def plan_styles(
    ledger: Ledger | None,
    base: Reader | None,
    styles: Sequence[tuple[StyleData, StyleDataset]],
    vectors: int,
    problems: Problems,
    museum_id: str = "",
) -> list[PlannedStyle]:
    """What the museum will do with each style.

    Args:
        ledger: of the museum; None: it begins with this run.
        base: what tells which words are one token; None: no words are given.
        styles: of the run, in order.
        vectors: of each slot.
        problems: where errors go.
        museum_id: of a museum that begins; it decides which slot words "auto" takes.
    Raises:
        ConfigError: the museum knows another style of this name, or a trigger is not possible.
    """
    plans = []
    known = ledger.styles if ledger else ()
    taken = [word for record in known for word in record.reserved_words]
    retired = ledger.retired_words if ledger else ()
    museum_id = ledger.museum_id if ledger else museum_id
    for style, dataset in styles:
        is_taught, words = False, tuple[str, ...]()
        with problems:
            is_taught = _is_taught(known, style, dataset)
            if style.name is not None and base is not None and not is_taught:
                words = choose_words(base, style.trigger or "auto", vectors, taken, museum_id, retired)
        taken += words
        plans.append(PlannedStyle(style, dataset, words, is_taught))
    return plans


def _is_taught(known: Sequence[StyleRecord], style: StyleData, dataset: StyleDataset) -> bool:
    for record in known:
        if record.name == style.name:
            if record.data_fingerprint == dataset.fingerprint:
                return True
            raise ConfigError(
                f"style {style.name!r} is in this museum already, taught from other pictures, captions or dataset "
                "settings; give this one another name with --style, or go back with `python -m museum_plugin rollback`"
            )
    return False
