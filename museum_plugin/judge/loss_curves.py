"""Curves of losses out of the TensorBoard logs that a run leaves."""

from __future__ import annotations

import logging
from pathlib import Path

from museum_plugin.judge.charts import Curve
from museum_plugin.judge.page_content import Losses

_POINTS = 200
"""Of a curve, at most."""
_NO_LOSS = ("learning_rate", "score", "drift")
"""What a run logs besides its losses; and `kept/STYLE`."""


def read_loss_curves(folder: Path) -> Losses:
    """Every curve `STYLE/TERM` in the event files below a folder; later files go on where earlier ones end.

    Learning rates and scores are left out; of a curve every n-th point is kept, so that 200 are not passed.
    """
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # takes a second to load

    points: dict[tuple[str, str], dict[int, float]] = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            style, _, term = tag.partition("/")
            if term and term not in _NO_LOSS and "/" not in term:
                points.setdefault((style, term), {}).update({e.step: e.value for e in events.Scalars(tag)})
    losses: Losses = {}
    for (style, term), values in points.items():
        losses.setdefault(style, {})[term] = thinned(sorted((float(s), float(v)) for s, v in values.items()))
    return losses


def thinned(curve: Curve, most: int = _POINTS) -> Curve:
    """At most `most` points of a curve, evenly taken; the last one stays."""
    stride = -(-len(curve) // most)
    return curve if stride <= 1 else [*curve[:-1:stride], curve[-1]][-most:]
