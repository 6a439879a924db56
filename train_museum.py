"""Teach a museum: one LoRA file, many styles, one after another. `python train_museum.py --help` lists the flags."""

from __future__ import annotations

import sys

from museum_plugin.cli.console import run_reporting_errors, speak_as_told
from museum_plugin.config.arguments import parse_command_line


def main(argv: list[str]) -> int:
    """Parse, train, and say where the results are. Returns the exit code."""

    def work() -> None:
        run = parse_command_line(argv)
        speak_as_told(run.log.console_level, run.log.console_file)
        from museum_plugin.train.loop import train  # torch takes seconds to load; a wrong flag does not wait for it
        from museum_plugin.train.report import report

        report(run, train(run))

    return run_reporting_errors(work, when_stopped="stopped at once; the museum file is as it was before this style")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
