"""The last lines of a run: where things are, and what to type next."""

from __future__ import annotations

import shlex

from accelerate import PartialState

from museum_plugin.config.schema import RunConfig
from museum_plugin.train.finish import Finished


def report(run: RunConfig, results: list[Finished]) -> None:
    """Print the closing lines, once for all processes of a run."""
    if PartialState().is_main_process:
        print("\n".join(closing_lines(run, results)))


def closing_lines(run: RunConfig, results: list[Finished]) -> list[str]:
    """Lines for the user after a run."""
    if not results:
        return ["nothing to do: every style is in the museum already"]
    last = results[-1]
    lines = ["", f"museum   {last.museum}" if run.output.museum else f"LoRA     {last.museum}"]
    if last.matrix:
        lines.append(f"matrix   {last.matrix}")
    if last.grid:
        lines.append(f"grid     {last.grid}")
    if last.page:
        lines.append(f"page     {last.page}")
    lines += [f"export   {folder}" for folder in last.exports]
    if run.output.museum:
        museum, style = shlex.quote(str(last.museum)), shlex.quote(str(run.styles[-1].name))
        lines.append(
            f'sample   python -m museum_plugin sample {museum} --style {style} --prompt "a red cat in a meadow"'
        )
    return lines
