"""What is trained and by which optimizer, where several flags decide together. Works on values and where they stood."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from museum_plugin.config.schema import NetworkConfig, OptimizerConfig
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")

SHORT_NAMES = {"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"}
"""sd-scripts' older flags -> the optimizer they ask for."""


FP8_FLAGS = ("fp8_base", "fp8_base_unet")
"""sd-scripts' flags for a base in fp8."""


THEIR_DEFAULTS = {
    "network_dim": "4",
    "network_alpha": "1",
    "learning_rate": "2e-06",
    "lr_scheduler": "constant",
    "text_encoder_lr": "learning_rate",
}
"""sd-scripts' defaults, of the flags whose default is another one here."""


def base_fields(values: Mapping[str, Any], where: Mapping[str, str]) -> dict[str, Any]:
    """Fields of the BaseConfig that follow from sd-scripts' flags.

    Raises:
        ConfigError: flags that exclude each other.
    """
    fields: dict[str, Any] = {}
    if values.get("cpu_offload_checkpointing") and not values.get("gradient_checkpointing"):
        log.info("cpu_offload_checkpointing: gradient_checkpointing is on as well")  # as in sd-scripts
        fields["gradient_checkpointing"] = True
    asked = [flag for flag in FP8_FLAGS if values.get(flag)]
    if not asked:
        return fields
    if values.get("base_precision", "fp8") != "fp8":
        raise ConfigError(
            f"{where[asked[0]]}: cannot go with base_precision {values['base_precision']}; keep one of them"
        )
    return {**fields, "precision": "fp8"}


def trained_parts(values: Mapping[str, Any], where: Mapping[str, str], rates: Mapping[str, Any]) -> dict[str, bool]:
    """What is trained: the U-Net unless told otherwise, the text encoder only with a learning rate of its own.

    Args:
        rates: the given fields of the optimizer.
    Raises:
        ConfigError: flags that exclude each other.
    """
    unet_only = bool(values.get("network_train_unet_only"))
    text_only = bool(values.get("network_train_text_encoder_only"))
    text_rate = _highest(rates.get("text_encoder_learning_rate", 0.0))
    if unet_only and text_only:
        place = where["network_train_text_encoder_only"]
        raise ConfigError(f"{place}: cannot go with network_train_unet_only; keep one of them")
    if text_only and not text_rate > 0:
        place = where["network_train_text_encoder_only"]
        raise ConfigError(f"{place}: needs text_encoder_lr greater than 0")
    unet_rate = rates.get("unet_learning_rate", 1.0)
    return {"train_unet": not text_only and unet_rate != 0, "train_text_encoder": not unet_only and text_rate > 0}


def optimizer_fields(
    values: Mapping[str, Any],
    where: Mapping[str, str],
    rates: Mapping[str, Any],
    steps: int | None,
    *,
    trains_text: bool,
) -> dict[str, Any]:
    """Fields of the OptimizerConfig that follow from more than their own flag.

    Args:
        rates: the given fields of the optimizer.
        steps: max_train_steps, of which shares are taken; None: epochs are counted, and only the pictures tell how
            many steps there are, so that shares stay shares.
    Raises:
        ConfigError: flags that exclude each other.
    """
    fields: dict[str, Any] = {
        field: _steps(values.get(flag, 0), steps)
        for field, flag in (("warmup_steps", "lr_warmup_steps"), ("decay_steps", "lr_decay_steps"))
    }
    if not trains_text and _highest(rates.get("text_encoder_learning_rate", 0.0)) > 0:
        fields["text_encoder_learning_rate"] = 0.0
    asked = [flag for flag in SHORT_NAMES if values.get(flag)]
    if len(asked) > 1 or (asked and "optimizer_type" in values):
        other = asked[1] if len(asked) > 1 else "optimizer_type"
        raise ConfigError(f"{where[asked[0]]}: cannot go with {other}; keep one of them")
    if asked:
        fields["name"] = SHORT_NAMES[asked[0]]
    if values.get("fused_backward_pass"):
        log.info("fused_backward_pass: nothing to gain, since a LoRA's gradients are small; the usual pass is made")
    return fields


def other_defaults(values: Mapping[str, Any]) -> list[str]:
    """What a run made for sd-scripts leaves out where our default is another one, such as "network_alpha 32 (there 1)".

    A run is made for sd-scripts where it gives network_module, which no run of sd-scripts can leave out.
    """
    if "network_module" not in values:
        return []
    rank = values.get("network_dim", NetworkConfig.rank)
    ours: dict[str, object] = {
        "network_dim": rank,
        "network_alpha": rank,
        "learning_rate": OptimizerConfig.unet_learning_rate,
        "lr_scheduler": OptimizerConfig.schedule,
        "text_encoder_lr": 0,
    }
    optimizer = str(values.get("optimizer_type", "")).lower()
    shaped = values.get("dim_from_weights") or os.path.isfile(values.get("museum", ""))
    settled = {
        "network_dim": shaped,
        "network_alpha": shaped,
        "learning_rate": "unet_lr" in values or values.get("network_train_text_encoder_only"),
        "lr_scheduler": "lr_scheduler_type" in values or optimizer == "adafactor" or "schedulefree" in optimizer,
        "text_encoder_lr": values.get("network_train_unet_only"),
    }
    left_out = [name for name in THEIR_DEFAULTS if name not in values and not settled[name]]
    return [f"{name} {ours[name]} (there {THEIR_DEFAULTS[name]})" for name in left_out]


def _highest(rate: float | tuple[float, ...]) -> float:
    return max(rate) if isinstance(rate, tuple) else rate


def _steps(count: float, steps: int | None) -> float:
    return count if steps is None else in_steps(count, steps)


def in_steps(count: float, steps: int) -> int:
    """A number of steps; below 1 it is a share of all `steps`."""
    return round(count * steps) if count < 1 else int(count)
