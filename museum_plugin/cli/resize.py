"""`resize`: give the shared LoRA of a museum another rank."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import add_museum_path, whole_number
from museum_plugin.cli.text_lines import counted, indented, printable, table
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.resize import LayerChange, relative_error, resized
from museum_plugin.train.museum_file import museum_lock


def add_arguments(parser: ArgumentParser) -> None:
    """What `resize` takes."""
    add_museum_path(parser)
    add = parser.add_argument
    add("--rank", type=whole_number(1), metavar="N", required=True, help="of every layer but wide convolutions")
    add("--conv_rank", type=whole_number(1), metavar="N", help="of wide convolutions (default: as they are)")
    add("--output", type=Path, metavar="FILE", help="write the result there, and leave the museum as it is")


def run(given: Namespace) -> None:
    """Write the museum with its new rank; the one before goes to the history.

    Raises:
        MuseumFileError: the file cannot be read, or is being taught.
        ConfigError: nothing would change, or the rank is impossible.
        OutputError: the result cannot be written; nothing is changed.
    """
    path: Path = given.museum
    target: Path = given.output or path
    if target != path and target.exists():
        raise ConfigError(f"--output: {target} is there already; give another path")
    read_museum(path)  # a file that is not there gets no lock beside it
    with museum_lock(path):
        content, changes = resized(read_museum(path), given.rank, given.conv_rank)
        write_museum(target, content, keep_history=None)
    for line in _lines(target, content, changes, replaced=target == path):
        print(printable(line))


def _lines(target: Path, content: MuseumContent, changes: list[LayerChange], *, replaced: bool) -> list[str]:
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
    lines += [f"{target}: teach it with --network_dim {network.rank} --network_alpha {network.alpha:g}"]
    return [*lines, f"undo: python -m museum_plugin rollback {target}"] if replaced else lines
