"""What a user sees while a run goes on."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

resource: Any
try:
    resource = importlib.import_module("resource")
except ImportError:  # Windows
    resource = None

_SMOOTHING = 0.95


def memory_text(device: torch.device) -> str:
    """Peak memory so far: of the card, or of this process; "?" where the system does not say."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
    if resource is None:
        return "?"
    unit = 2**30 if sys.platform == "darwin" else 2**20  # macOS counts bytes, Linux KiB
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.1f} GiB"


class Progress:
    """The bar of one style: step, smoothed loss terms, time left, memory."""

    def __init__(
        self,
        title: str,
        start: int,
        steps: int,
        device: torch.device,
        *,
        visible: bool,
        smooth: dict[str, Tensor] | None = None,
    ) -> None:
        """`smooth`: the terms so far, which are kept up to date; a resumed run goes on with them."""
        self._bar = tqdm(total=steps, initial=start, desc=title, disable=not visible, dynamic_ncols=True)
        self._device = device
        self._smooth = {} if smooth is None else smooth
        self._notes: dict[str, str] = {}

    def update(self, terms: dict[str, Tensor], *, show: bool) -> None:
        """Advance by one step; the numbers are read from the device only when they are shown."""
        for name, value in terms.items():
            value = value.detach()
            before = self._smooth.get(name, value).to(value.device)
            self._smooth[name] = before * _SMOOTHING + value * (1 - _SMOOTHING)
        if show:
            shown = {name: f"{value.item():.3f}" for name, value in self._smooth.items()}
            self._bar.set_postfix({**shown, **self._notes, "memory": memory_text(self._device)}, refresh=False)
        self._bar.update()

    def note(self, name: str, value: float) -> None:
        """Show a number until another of this name comes."""
        self._notes[name] = f"{value:.3f}"

    def means(self) -> dict[str, float]:
        """The smoothed terms."""
        return {name: value.item() for name, value in self._smooth.items()}

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.close()
