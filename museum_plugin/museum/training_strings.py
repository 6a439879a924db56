"""How the newest style was taught, as sd-scripts and ModelSpec write it into a header. Pure functions of its record."""

from __future__ import annotations

import json
from typing import Any

from museum_plugin.museum.ledger import StyleRecord

DATA = "data"
"""Field of a record: how many pictures there were, and in which sizes."""
_FLAGS = (
    "learning_rate", "unet_lr", "text_encoder_lr", "lr_scheduler", "lr_warmup_steps", "max_train_steps", "clip_skip",
    "gradient_accumulation_steps", "mixed_precision", "min_snr_gamma", "noise_offset", "zero_terminal_snr", "loss_type",
)  # fmt: skip
"""Flags that stand in the header under their own name after "ss_"."""


def training_strings(record: StyleRecord) -> dict[str, str]:
    """Key of the header -> text; only what the record knows."""
    given, data = record.settings, record.extra.get(DATA)
    strings = {f"ss_{name}": str(given[name]) for name in _FLAGS if given.get(name) is not None}
    if given.get("optimizer_type"):
        strings["ss_optimizer"] = str(given["optimizer_type"])
    if record.steps:
        strings["ss_steps"] = str(record.steps)
    return {**strings, **_of_data(data if isinstance(data, dict) else {}, record.steps), **_modelspec(given)}


def _of_data(data: dict[str, Any], steps: int) -> dict[str, str]:
    sizes = data.get("sizes")
    if not isinstance(sizes, dict) or not sizes:
        return {}
    batches = int(data["batches_per_epoch"])
    buckets = [[int(side) for side in size.split("x")] for size in sizes]
    counts = [int(count) for count in sizes.values()]
    info = {str(i): {"resolution": buckets[i], "count": counts[i]} for i in range(len(buckets))}
    most = max(range(len(buckets)), key=lambda i: counts[i])
    epochs = -(-steps * int(data["batches_per_step"]) // batches) if batches else 0
    return {
        "ss_num_train_images": str(data["images"]),
        "ss_num_reg_images": str(data["reg_images"]),
        "ss_num_batches_per_epoch": str(batches),
        "ss_epoch": str(epochs),
        "ss_num_epochs": str(epochs),
        "ss_resolution": f"({buckets[most][0]}, {buckets[most][1]})",
        "ss_bucket_info": json.dumps({"buckets": info}),
        "modelspec.resolution": f"{buckets[most][0]}x{buckets[most][1]}",
    }


def _modelspec(given: dict[str, Any]) -> dict[str, str]:
    """ModelSpec 1.0.1: the text encoder's layer from the end, and the steps of noise, where flags say so."""
    found = {}
    if isinstance(given.get("clip_skip"), int):
        found["modelspec.encoder_layer"] = str(given["clip_skip"])
    low, high = given.get("min_timestep"), given.get("max_timestep")
    if low or high:
        found["modelspec.timestep_range"] = f"{low or 0},{high or 1000}"
    return found
