"""`compact`: a smaller rank for the shared LoRA, layer by layer, with the loss measured."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from museum_plugin.cli.before_after import add_gate, gate_of
from museum_plugin.cli.parser import BASE_FLAG, add_base_folder, add_museum_path, number_from, whole_number
from museum_plugin.cli.rewriting import add_output, rewritten, way_back
from museum_plugin.cli.text_lines import counted, file_size, indented, printable, table
from museum_plugin.errors import ConfigError
from museum_plugin.museum.compact import capped, least_ranks, part_of_energy, spectra
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.resize import LayerChange, with_ranks

_SHOWN = 12


@dataclass(frozen=True)
class Compacted:
    """What is told of a compaction."""

    changes: list[LayerChange]
    lost: float
    """The part that is lost of what the museum does."""
    what: str
    """Of what it is a part."""
    scores: list[str]
    """Lines."""


def add_arguments(parser: ArgumentParser) -> None:
    """What `compact` takes."""
    add_museum_path(parser)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--rank", type=whole_number(1), metavar="N", help="no layer keeps more than this")
    told = "the part, 0 to 1, of what the museum does that may be lost: the least ranks that stay below it"
    asked.add_argument("--loss", type=_share, metavar="X", help=told)
    add_base_folder(parser)
    told = "without the base model: the nearest weights, not the nearest pictures; nothing is drawn"
    parser.add_argument("--weights_only", action="store_true", help=told)
    add_gate(parser)
    add_output(parser)


def _share(text: str) -> float:
    number = number_from(0)(text)
    if not 0 < number < 1:
        raise ArgumentTypeError(f"found {text!r}, allowed: a number above 0 and below 1")
    return number


def run(given: Namespace) -> None:
    """Write the museum with smaller ranks; the one before goes to the history.

    Raises:
        MuseumFileError: the file cannot be read, or is being taught.
        BaseModelError: the base model cannot be found or loaded.
        ConfigError: no layer would get smaller.
        GateError: a style is drawn too much worse; the museum is untouched.
        OutputError: the result cannot be written; nothing is changed.
    """
    path: Path = given.museum
    if given.weights_only and getattr(given, BASE_FLAG) is not None:
        raise ConfigError(f"--weights_only: without the base model; leave out --{BASE_FLAG}")

    def change(content: MuseumContent) -> tuple[MuseumContent, Compacted]:
        if given.weights_only:
            return by_weights(content, given.rank, given.loss)
        from museum_plugin.cli.compact_on_base import by_pictures

        return by_pictures(path, content, given.rank, given.loss, getattr(given, BASE_FLAG), gate_of(given))

    size = path.stat().st_size if path.exists() else 0
    target, content, told = rewritten(path, given.output, change)
    sizes = f"{file_size(size)} -> {file_size(target.stat().st_size)}"
    for line in [*_lines(target, content, told, sizes), *way_back(path, target)]:
        print(printable(line))


def by_weights(content: MuseumContent, rank: int | None, loss: float | None) -> tuple[MuseumContent, Compacted]:
    """The nearest weight changes; the loss is the part of their squared Frobenius norm that goes.

    Raises:
        ConfigError: no layer would get smaller.
    """
    energies = spectra(content)
    ranks = (
        capped(content, rank) if rank is not None else smaller(content, least_ranks(energies, loss or 0.0), loss or 0.0)
    )
    after, changes = with_ranks(content, ranks)
    lost = part_of_energy(energies, ranks)
    return after, Compacted(changes, lost, "the square of its weight change", [])


def smaller(content: MuseumContent, ranks: Mapping[str, int], loss: float) -> Mapping[str, int]:
    """These ranks.

    Raises:
        ConfigError: they are those that the museum has.
    """
    network = content.ledger.network
    if all(rank == network.shape(key)[0] for key, rank in ranks.items()):
        raise ConfigError(f"--loss: found {loss:g}: no layer can lose a direction for so little; allow more")
    return ranks


def _lines(target: Path, content: MuseumContent, told: Compacted, sizes: str) -> list[str]:
    network = content.ledger.network
    ranks = [network.shape(key)[0] for key in network.targets]
    rows = [(c.key, f"{c.old_rank} -> {c.new_rank}", f"{100 * c.lost / c.energy if c.energy else 0:.3f} %")
            for c in told.changes]  # fmt: skip
    rows = sorted(rows, key=lambda row: float(row[2].split()[0]), reverse=True)
    more = f"and {len(rows) - _SHOWN} more layers, which lose less"
    return [
        f"{counted(len(rows), 'layer')} got smaller; those that lose most of their own energy:",
        *indented(table([("layer", "rank", "lost"), *rows[:_SHOWN]], right=(2,))),
        *indented([more] if len(rows) > _SHOWN else []),
        f"rank {sum(ranks) / len(ranks):.1f} on average, {min(ranks)} to {max(ranks)}; {sizes}",
        f"lost of what the museum does: {100 * told.lost:.3f} % of {told.what}",
        *told.scores,
        f"{target}: teach it with --network_dim {network.rank} --network_alpha {network.alpha:g}; `resize` gives the "
        "next style room again",
    ]
