"""Run a training script as it is, and note when each optimizer step ended and how much memory the process took.

python benchmarks/clocked.py RESULT.json SCRIPT [ARGUMENT ...]

Needs nothing but torch, so that it runs in any trainer's environment. Times are seconds of the processor and of the
clock, memory is the highest that the process ever held and what it held after each step, in bytes; with a card also
the highest there.
"""

from __future__ import annotations

import json
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any


def main(result: str, script: str, arguments: list[str]) -> None:
    """Run the script as `python SCRIPT ...` would, and write what was noted, however it ends."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    stamps: list[tuple[float, float]] = []
    resident: list[int] = []

    def note(*_: Any) -> None:
        resident.append(_resident())
        stamps.append((time.process_time(), time.perf_counter()))

    hook = register_optimizer_step_post_hook(note)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        hook.remove()
        import torch

        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        peak = max(highest, *resident, 0)  # the system rounds the two numbers apart
        card = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        found = {"stamps": stamps, "peak": peak, "resident": resident, "peak_on_card": card}
        Path(result).write_text(json.dumps(found), encoding="utf-8")


def _resident() -> int:
    """Bytes that the process holds now; 0 where the system does not say it so."""
    place = Path("/proc/self/statm")
    return int(place.read_text().split()[1]) * resource.getpagesize() if place.exists() else 0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
