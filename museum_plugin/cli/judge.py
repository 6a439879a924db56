"""`judge`: measure a museum against the one before, and write a page to look at."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from museum_plugin.cli.parser import BASE_FLAG, add_base_folder, add_museum_path
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.config.refusal import did_you_mean
from museum_plugin.errors import ConfigError, MuseumFileError
from museum_plugin.museum.history import previous_version
from museum_plugin.museum.ledger import Ledger


def add_arguments(parser: ArgumentParser) -> None:
    """What `judge` takes."""
    add_museum_path(parser)
    add = parser.add_argument
    add(
        "--before",
        type=Path,
        metavar="PATH",
        help="the museum it is measured against (default: the newest earlier version that differs; without one, "
        "prompts without a trigger are measured against the base)",
    )
    add(
        "--images",
        nargs="+",
        action="extend",
        default=[],
        metavar="[STYLE=]PATH",
        help="training pictures of a style, a folder or a dataset file, to see whether they are drawn again; "
        "without STYLE= the folder or file must be named after it",
    )
    add("--logs", type=Path, metavar="FOLDER", help="TensorBoard logs of its runs, for the curves of the losses")
    add(
        "--backbone",
        metavar="NAME|FOLDER",
        help="a network that looks at the pictures too: efficientnet (two small packages), or the folder of a CLIP "
        "model; with --images of several styles it says most",
    )
    add_base_folder(parser)
    add("--out", type=Path, metavar="FOLDER", help="where page, numbers and grid go (default: beside the museum)")


@dataclass(frozen=True)
class Case:
    """What is judged, before any model is loaded."""

    museum: Path
    ledger: Ledger
    before: Path | None
    images: dict[str, Path]
    """Style -> folder or dataset file of its training pictures."""
    logs: Path | None
    backbone: str | None
    out: Path


def case_of(given: Namespace) -> Case:
    """What is to be judged.

    Raises:
        MuseumFileError: a file cannot be read, or the museum was never judged.
        ConfigError: `--images` names no style of the museum, or no place.
    """
    ledger = ledger_of(given.museum)
    if "exhibition" not in ledger.extra or not any(record.signature for record in ledger.styles):
        raise MuseumFileError(f"{given.museum}: no style of it was ever judged, so there is nothing to compare with")
    before: Path | None = given.before
    if before is not None:
        ledger_of(before)
    elif (version := previous_version(given.museum)) is not None and version.style_count:
        before = version.path
    if given.logs is not None and not given.logs.is_dir():
        raise ConfigError(f"--logs: there is no folder {given.logs}")
    images = images_of(given.images, [record.name for record in ledger.styles])
    return Case(given.museum, ledger, before, images, given.logs, given.backbone, given.out or given.museum.parent)


def images_of(told: Sequence[str], styles: Sequence[str]) -> dict[str, Path]:
    """Style -> the place of its training pictures.

    Raises:
        ConfigError: no such style, or nothing at the place.
    """
    found: dict[str, Path] = {}
    for text in told:
        name, sign, place = text.partition("=")
        if not sign or Path(text).exists():
            name, place = Path(text).stem, text
        if name not in styles:
            allowed = f"STYLE=PATH for a style of this museum ({', '.join(styles)})"
            raise ConfigError(f"--images: found {text!r}, allowed: {allowed}{did_you_mean(name, styles)}")
        if not Path(place).exists():
            raise ConfigError(f"--images: there is no folder or dataset file {place!r}")
        found[name] = Path(place)
    return found


def run(given: Namespace) -> None:
    """Judge, and print the verdict and where the files are.

    Raises:
        MuseumFileError: a museum cannot be read, or belongs to another base.
        BaseModelError: the base model cannot be found or loaded.
        ConfigError, DataError: training pictures or logs cannot be read.
        OutputError: a file cannot be written.
    """
    case = case_of(given)
    from museum_plugin.cli.judge_museum import judge_case  # torch takes seconds to load

    for line in judge_case(case, getattr(given, BASE_FLAG)):
        print(line)
