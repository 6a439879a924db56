"""`export`: publish a museum for the programs that draw with it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.parser import BASE_FLAG, add_base_folder, add_museum_path
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.cli.text_lines import indented, printable


def add_arguments(parser: ArgumentParser) -> None:
    """What `export` takes."""
    add_museum_path(parser)
    add = parser.add_argument
    add(
        "--for",
        dest="targets",
        nargs="+",
        default=["webui"],
        metavar="CLIENT",
        help="webui (default: ComfyUI, A1111, SD.Next, Forge at once), comfyui, a1111, forge, sdnext, invoke, "
        "diffusers, sidecars (no LoRA file), or all; plain: the words work in every client with nothing beside the "
        "file, which takes minutes and the base model",
    )
    add("--styles", nargs="+", default=[], metavar="NAME", help="a room: only these styles (default: all)")
    add("--room", metavar="NAME", help="name of the files (default: the museum's, with the styles of a room)")
    add("--output_dir", type=Path, default=Path("exports"), metavar="FOLDER", help="default: exports")
    add("--save_precision", choices=("fp16", "bf16", "float"), default="fp16", help="of the numbers (default: fp16)")
    add("--no_metadata", action="store_true", help="without ledger and packed slots: smaller, and cannot grow")
    add("--preview", type=Path, metavar="PNG", help="the picture beside it (default: the newest grid, if it is found)")
    add("--force", action="store_true", help="write what a client would refuse, and over files of others")
    add_base_folder(parser)


def run(given: Namespace) -> None:
    """Write the folders; print where they are and what each client does with the file.

    Raises:
        MuseumError: something cannot be published or written; what was there is untouched.
    """
    from museum_plugin.export.targets import chosen_targets

    targets = chosen_targets(given.targets)
    ledger = ledger_of(given.museum)
    from museum_plugin.cli.museum_base import with_base_rows  # torch takes seconds to load
    from museum_plugin.export.clients import verdict_lines
    from museum_plugin.export.publish import Order, publish
    from museum_plugin.museum.file import read_museum

    content = read_museum(given.museum)
    if any(target.with_table for target in targets):
        content = with_base_rows(given.museum, content, getattr(given, BASE_FLAG))
    plain = None
    if any(target.with_plain_words for target in targets):
        from museum_plugin.cli.plain_words import plain_words_of

        plain = plain_words_of(given.museum, content, getattr(given, BASE_FLAG))
    order = Order(
        museum=given.museum,
        targets=targets,
        output_dir=given.output_dir,
        styles=tuple(ledger.style(name).name for name in given.styles),
        room=given.room,
        precision=given.save_precision,
        with_ledger=not given.no_metadata,
        preview=given.preview,
        force=given.force,
        plain_words=plain,
    )
    for done in publish(content, order):
        shown = [v for v in done.verdicts if len(targets) == 1 or v.client in done.target.clients]
        print(printable(str(done.folder)))
        print("\n".join(indented(map(printable, [*done.files, *verdict_lines(shown)]))))
