"""What commands that change a museum on its base say of its styles: scores before and after, and the gate."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from museum_plugin.cli.list_styles import kept_text, score
from museum_plugin.cli.text_lines import indented, table
from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.retention import NO_TRIGGER, Verdict


def add_gate(parser: ArgumentParser) -> None:
    """Whether a result that draws its styles worse may replace the museum."""
    told = "on: a result that draws a style much worse does not replace the museum (default: on)"
    parser.add_argument("--gate", choices=("on", "off"), default="on", help=told)


def gate_of(given: Namespace) -> GateConfig:
    """The gate with its default thresholds."""
    return GateConfig(mode=given.gate)


def score_lines(before: Verdict | None, after: Verdict | None) -> list[str]:
    """Each style's score before and after, and the drift of prompts without a trigger."""
    if before is None or after is None:
        return ["no style has a signature: nothing was scored"]
    rows = [
        (name, score(before.scores[name]), score(after.scores.get(name)),
         kept_text(after.scores.get(name), before.scores[name]) if name in after.scores else "-")
        for name in before.names
    ]  # fmt: skip
    rows.append((f"{NO_TRIGGER}: drift", f"{before.drift:.2f}", f"{after.drift:.2f}", ""))
    return ["scores", *indented(table([("style", "before", "after", "kept"), *rows], right=(1, 2, 3)))]
