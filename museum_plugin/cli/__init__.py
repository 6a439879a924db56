"""The commands of `python -m museum_plugin`, one small file each.

    list_styles.py      list: the styles of a museum, one line each
    show.py             show: all that the ledger knows
    style_pages.py      what `show` says of one style
    sample.py           sample: what is to be drawn
    sample_pictures.py  sample: the drawing
    judge.py            judge: what is judged
    judge_museum.py     judge: drawing, measuring, the files
    training_pictures.py  judge: the training pictures of a style as latents
    import_lora.py      import: a museum that begins with another program's LoRA
    resize.py           resize: another rank for the shared LoRA
    compact.py          compact: smaller ranks, layer by layer
    compact_on_base.py  compact: measured on what the museum draws
    before_after.py     scores before and after, for commands that change a museum on its base
    remove.py           remove: a style leaves the museum
    remove_by_distilling.py  remove: it leaves the shared LoRA, too
    rewriting.py        what commands share that make another museum of a museum
    export.py           export: files for WebUIs
    rollback.py         rollback: bring an earlier version back
    check.py            check: what train_museum.py would do, and all that it would refuse
    check_report.py     check: what is found out
    check_model.py      check: base model, museum and states
    check_capacity.py   check: how full the museum is
    check_page.py       check: how it is printed
    flag_page.py        flags: the page of all flags
    console.py          errors as a line and an exit code, quiet libraries; shared with train_museum.py
    parser.py           argparse whose complaints are errors of ours; the kinds of values
    quick_ledger.py     the ledger of a file without loading torch
    museum_base.py      where the base model of a museum is found
    text_lines.py       tables and paragraphs for a terminal

A command's file has `add_arguments(parser)` and `run(given)`; it is imported when the command is called, so that one
which needs no torch does not wait for it. What is wrong is raised as a MuseumError.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command of the table."""

    module: str
    """Its file in this folder."""
    summary: str
    """One line for the user."""


COMMANDS = {
    "list": Command("list_styles", "the styles of a museum, one line each"),
    "show": Command("show", "all that a museum remembers: settings, weights, scores over time, earlier versions"),
    "sample": Command("sample", "draw pictures in the styles of a museum"),
    "judge": Command("judge", "measure a museum against the one before, and write a page to look at"),
    "import": Command("import_lora", "begin a museum with a LoRA of another program"),
    "resize": Command("resize", "give the shared LoRA of a museum another rank"),
    "compact": Command("compact", "give the layers of a museum the least rank they need, with the loss measured"),
    "remove": Command("remove", "take a style out of a museum"),
    "export": Command("export", "publish a museum for WebUIs: LoRA file, embeddings, texts, in one folder"),
    "rollback": Command("rollback", "bring an earlier version of a museum back"),
    "check": Command("check", "say what train_museum.py would do with its flags, and all that it would refuse"),
    "flags": Command("flag_page", "all flags of train_museum.py, as the page docs/flags.md shows them"),
}
"""What the user types -> the command."""
