"""`resize`: give the shared LoRA of a museum another rank."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import add_museum_path, whole_number
from museum_plugin.cli.rewriting import add_output, rewritten, way_back
from museum_plugin.cli.text_lines import counted, indented, printable, table
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.resize import LayerChange, relative_error, resized


def add_arguments(parser: ArgumentParser) -> None:
    """What `resize` takes."""
    add_museum_path(parser)
    add = parser.add_argument
    add("--rank", type=whole_number(1), metavar="N", required=True, help="of every layer but wide convolutions")
    add("--conv_rank", type=whole_number(1), metavar="N", help="of wide convolutions (default: as they are)")
    add_output(parser)


def run(given: Namespace) -> None:
    """Write the museum with its new rank; the one before goes to the history.

    Raises:
        MuseumFileError: the file cannot be read, or is being taught.
        ConfigError: nothing would change, or the rank is impossible.
        OutputError: the result cannot be written; nothing is changed.
    """
    path: Path = given.museum
    target, content, changes = rewritten(path, given.output, lambda old: resized(old, given.rank, given.conv_rank))
    for line in [*_lines(target, content, changes), *way_back(path, target)]:
        print(printable(line))


def _lines(target: Path, content: MuseumContent, changes: list[LayerChange]) -> list[str]:
    network = content.ledger.network
    lower = [change for change in changes if change.new_rank < change.old_rank]
    lines = []
    if lower:
        rows = [(c.key, f"{c.old_rank} -> {c.new_rank}", f"{100 * c.error:.3f} %") for c in lower]
        lines += ["lost of each layer's weight change (Frobenius norm)"]
        lines += indented(table([("layer", "rank", "lost"), *rows], right=(2,)))
        lines += [f"of all of them together: {100 * relative_error(lower):.3f} %"]
    raised = len(changes) - len(lower)
    if raised:
        lines += [f"{counted(raised, 'layer')} can learn more now; what they do is unchanged"]
    return [*lines, f"{target}: teach it with --network_dim {network.rank} --network_alpha {network.alpha:g}"]
