"""How the frozen U-Net lies in memory."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from torch import nn

from museum_plugin.base.precision import store_small
from museum_plugin.config.schema import BaseConfig
from museum_plugin.errors import ConfigError

log = logging.getLogger("museum")


def check_precision(asked: BaseConfig) -> None:
    """Refuse a precision whose package is missing.

    Raises:
        ConfigError: names it.
    """
    if asked.precision == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("base_precision: found 'nf4', which needs the package bitsandbytes: pip install bitsandbytes")


def fit_unet(unet: Any, asked: BaseConfig) -> None:
    """Lay the U-Net of a run out as it asks; to be called where the U-Net is to stay."""
    if asked.channels_last:
        nn.Module.to(unet, memory_format=torch.channels_last)
    if asked.stores_small:
        taken = store_small(unet, asked.precision)
        log.info("the weights of the U-Net's blocks take %.2f GiB in %s", taken / 2**30, asked.precision)
    if asked.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
