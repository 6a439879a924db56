"""`sample`: draw pictures with a museum on its base."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museum_plugin.cli.parser import BASE_FLAG, add_base_folder, add_museum_path, number_from, whole_number
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.config.schema import TOKEN_LENGTHS
from museum_plugin.errors import ConfigError
from museum_plugin.museum.ledger import Ledger

_SLUG_LENGTH = 40
"""Letters of a name or prompt in the name of a file."""
_LAST_SEED = 2**63 - 1


def add_arguments(parser: ArgumentParser) -> None:
    """What `sample` takes."""
    add_museum_path(parser)
    judged = "(default: as this museum is judged)"
    add = parser.add_argument
    add("--prompt", action="append", metavar="TEXT", help=f"what to draw; may be given several times {judged}")
    add(
        "--style",
        action="append",
        metavar="NAME",
        help="draw in this style; may be given several times (default: without any trigger; with --grid: all styles)",
    )
    add_base_folder(parser)
    add("--seed", type=whole_number(0, _LAST_SEED), default=0, metavar="N", help="of the first picture (default: 0)")
    add("--number", type=whole_number(1), default=1, metavar="N", help="pictures of each style and prompt (default: 1)")
    add("--steps", type=whole_number(1, 1000), metavar="N", help=f"sampling steps {judged}")
    add("--guidance", type=number_from(0), metavar="G", help=f"of the prompt; 1 switches it off {judged}")
    add("--width", type=whole_number(8), metavar="PIXELS", help=judged)
    add("--height", type=whole_number(8), metavar="PIXELS", help=judged)
    add("--out", type=Path, default=Path("samples"), metavar="FOLDER", help="where pictures go (default: samples)")
    add("--grid", action="store_true", help="one sheet: a row for each prompt; base, no trigger and each style beside")


@dataclass(frozen=True)
class Column:
    """Who draws."""

    title: str
    style: str | None
    """None draws without a trigger."""
    bare: bool = False
    """The base without the museum."""


@dataclass(frozen=True)
class Order:
    """What was asked for, before any model is loaded."""

    museum: Path
    columns: tuple[Column, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    """Each prompt is drawn from each of them, the same in every column."""
    plan: dict[str, Any]
    """Of the SamplingPlan: what the user or the museum's exhibition says."""
    out: Path


def order_of(given: Namespace, ledger: Ledger) -> Order:
    """What is to be drawn.

    Raises:
        MuseumFileError: no such style.
        ConfigError: no prompt, or seeds beyond the last one.
    """
    judged_prompts, recorded = _exhibition(ledger)
    prompts = tuple(dict.fromkeys(given.prompt or judged_prompts))
    if not prompts:
        raise ConfigError("--prompt: none given, and this museum was never judged on one; say what to draw")
    if given.seed + given.number - 1 > _LAST_SEED:
        raise ConfigError(f"--seed: found {given.seed} for {given.number} pictures, the last one may be {_LAST_SEED}")
    asked = {name: getattr(given, name) for name in ("width", "height", "steps", "guidance")}
    return Order(
        museum=given.museum,
        columns=_columns(ledger, given.style, grid=given.grid),
        prompts=prompts,
        seeds=tuple(range(given.seed, given.seed + given.number)),
        plan=recorded | {name: value for name, value in asked.items() if value is not None},
        out=given.out,
    )


def _exhibition(ledger: Ledger) -> tuple[list[str], dict[str, Any]]:
    """The prompts the museum is judged on, and the numbers of their SamplingPlan; what is no such thing is left out."""
    found = ledger.extra.get("exhibition")
    exhibition = found if isinstance(found, dict) else {}
    prompts = exhibition.get("prompts")
    whole = ((name, exhibition.get(name)) for name in ("width", "height", "steps", "clip_skip"))
    plan: dict[str, Any] = {name: value for name, value in whole if type(value) is int and value > 0}
    if exhibition.get("max_token_length") in TOKEN_LENGTHS:
        plan["max_token_length"] = exhibition["max_token_length"]
    if exhibition.get("weighted_captions") is True:
        plan["weighted_captions"] = True
    guidance = exhibition.get("guidance")
    if isinstance(guidance, (int, float)):
        plan["guidance"] = guidance
    return [prompt for prompt in prompts if isinstance(prompt, str)] if isinstance(prompts, list) else [], plan


def _columns(ledger: Ledger, asked: list[str] | None, *, grid: bool) -> tuple[Column, ...]:
    records = [ledger.style(name) for name in dict.fromkeys(asked)] if asked else list(ledger.styles) if grid else []
    if not grid:
        return tuple(Column(record.name, record.name) for record in records) or (Column("no trigger", None),)
    styles = [Column(f"{record.name} ({record.trigger})", record.name) for record in records]
    return (Column("base", None, bare=True), Column("no trigger", None), *styles)


def run(given: Namespace) -> None:
    """Draw and print the path of each file.

    Raises:
        MuseumFileError: the museum cannot be read, belongs to another base, or has no such style.
        BaseModelError: the base model cannot be found or loaded.
        ConfigError: a size that the base cannot draw.
        OutputError: a picture cannot be written.
    """
    ledger = ledger_of(given.museum)
    order = order_of(given, ledger)
    from museum_plugin.cli.sample_pictures import write_grid_of, write_pictures_of  # torch takes seconds to load

    write = write_grid_of if given.grid else write_pictures_of
    write(order, ledger, getattr(given, BASE_FLAG))


def slugs(texts: Iterable[str]) -> dict[str, str]:
    """A part of a file name for each text, all different."""
    found: dict[str, str] = {}
    for text in texts:
        slug = re.sub(r"\W+", "-", text.lower())[:_SLUG_LENGTH].strip("-") or "empty"
        number = 1
        while (numbered := slug if number == 1 else f"{slug}-{number}") in found.values():
            number += 1
        found[text] = numbered
    return found
