"""`show`: all that the ledger knows of a museum or of one of its styles."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from museum_plugin.cli.list_styles import style_table, summary_line
from museum_plugin.cli.parser import add_museum_path
from museum_plugin.cli.quick_ledger import ledger_of
from museum_plugin.cli.rollback import version_table
from museum_plugin.cli.style_pages import json_line, matrix_lines, style_lines
from museum_plugin.cli.text_lines import counted, entry, indented, printable, table
from museum_plugin.museum.history import history_folder
from museum_plugin.museum.latest_scores import LATEST_SCORES
from museum_plugin.museum.ledger import REMOVED, Ledger

_EXHIBITION = "exhibition"


def add_arguments(parser: ArgumentParser) -> None:
    """What `show` takes."""
    add_museum_path(parser)
    parser.add_argument("--style", metavar="NAME", help="only this style, with its settings, weights and scores")
    parser.add_argument("--json", action="store_true", help="print the ledger as JSON, for programs")


def run(given: Namespace) -> None:
    """Print the pages, or the JSON.

    Raises:
        MuseumFileError: the file cannot be read, or has no such style.
    """
    ledger = ledger_of(given.museum)
    if given.style is not None:
        ledger.style(given.style)
    if given.json:
        print(json_text(ledger, given.style))
        return
    lines = style_lines(ledger, given.style) if given.style is not None else museum_lines(given.museum, ledger)
    for line in lines:
        print(line)


def json_text(ledger: Ledger, style: str | None) -> str:
    """The ledger as it stands in the file, or one style's part of it; only ASCII, so that any pipe takes it."""
    data = json.loads(ledger.to_json())
    if style is not None:
        data = next(record for record in data["styles"] if record["name"] == style)
    return json.dumps(data, indent=2)


def museum_lines(path: Path, ledger: Ledger) -> list[str]:
    """All about a museum but the settings of its styles."""
    versions = version_table(path) or [f"none is kept in {printable(str(history_folder(path)))}"]
    return [
        summary_line(path, ledger),
        "",
        *_identity(ledger),
        *_exhibition(ledger),
        *[
            line
            for name, value in ledger.extra.items()
            if name not in (_EXHIBITION, REMOVED, LATEST_SCORES)
            for line in entry(name, json_line(value))
        ],
        "",
        "styles",
        *indented(style_table(ledger) or ["none yet"]),
        *_removed(ledger),
        "",
        "scores over time (0 = as the base draws, 1 = the statistics of the style's own pictures)",
        *indented(matrix_lines(ledger) or ["none yet"]),
        "",
        "earlier versions",
        *indented(versions),
    ]


def _removed(ledger: Ledger) -> list[str]:
    """Which styles were taken out, when and how."""
    if not ledger.removed:
        return []
    columns = ("name", "trigger", "removed_at", "how")
    rows = [tuple(str(note.get(column, "-")) for column in columns) for note in ledger.removed]
    return ["", "removed", *indented(table([("style", "trigger, retired", "removed (UTC)", "how"), *rows]))]


def _identity(ledger: Ledger) -> list[str]:
    base, network = ledger.base, ledger.network
    in_unet = sum(target.startswith("lora_unet_") for target in network.targets)
    in_text = len(network.targets) - in_unet
    others = {**base.extra, **network.extra}
    scale = f"{network.alpha / network.rank:g}" if network.rank else "-"
    return [
        *entry("id", f"{ledger.museum_id}, format version {ledger.format_version}"),
        *entry("base", f"{base.name} ({base.family}, {base.prediction_type}), fingerprint {base.fingerprint}"),
        *entry("network", f"rank {network.rank}, alpha {network.alpha:g}, scale {scale}"),
        *entry("modules", f"{in_unet} in the U-Net, {in_text} in the text encoder"),
        *[line for name, value in others.items() for line in entry(name, json_line(value))],
    ]


def _exhibition(ledger: Ledger) -> list[str]:
    found = ledger.extra.get(_EXHIBITION)
    if not isinstance(found, dict):
        return entry("judged on", "nothing yet")
    prompts = found.get("prompts")
    prompts = [str(prompt) for prompt in prompts] if isinstance(prompts, list) else []
    plan = ", ".join(f"{name} {json_line(value)}" for name, value in found.items() if name != "prompts")
    return entry("judged on", f"{counted(len(prompts), 'prompt')}, {plan}", *prompts)
