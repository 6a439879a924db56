"""How the frozen U-Net lies in memory."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from museum_plugin.base.carrier import carrier_to
from museum_plugin.base.compiled import compiled
from museum_plugin.base.frozen import Stored
from museum_plugin.base.load import BaseModel
from museum_plugin.base.precision import store_small
from museum_plugin.base.swap import block_bytes, bytes_on_card, spread, swappable, swapped
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


def check_swap(asked: BaseConfig, unet: Any, name: str) -> None:
    """Refuse to swap more blocks than a U-Net has.

    Args:
        name: of the base model.
    Raises:
        ConfigError: names both numbers.
    """
    blocks = len(swappable(unet))
    if asked.swapped > blocks:
        raise ConfigError(f"blocks_to_swap: found {asked.swapped}, but the U-Net of {name} has {blocks} blocks")


def fit_unet(unet: Any, asked: BaseConfig, device: torch.device | None = None) -> None:
    """Lay the U-Net of a run out as it asks.

    Args:
        device: where weights that are stored small go; None: where they are.
    """
    if asked.channels_last:
        nn.Module.to(unet, memory_format=torch.channels_last)
    if asked.stores_small:
        taken = store_small(unet, asked.precision, device)
        log.info("the weights of the U-Net's blocks take %.2f GiB in %s", taken / 2**30, asked.precision)
    if asked.cpu_offload_checkpointing:
        unet.enable_gradient_checkpointing(checkpoint_in_host_memory)
    elif asked.gradient_checkpointing:
        unet.enable_gradient_checkpointing()


def checkpoint_in_host_memory(module: nn.Module, *inputs: Any) -> Any:
    """A module's outputs; of its forward pass only the inputs are kept, in host memory, pinned where there is a card.

    torch's checkpointing without re-entrance keeps the inputs as any operation keeps its own, so that they go where
    saved tensors go; what the pass itself would save is under checkpointing's own rule, which is the inner one.
    """
    with torch.autograd.graph.save_on_cpu(pin_memory=torch.cuda.is_available()):
        return checkpoint(module, *inputs, use_reentrant=False)


@contextmanager
def placed(base: BaseModel, asked: BaseConfig, device: torch.device, dtype: torch.dtype) -> Iterator[BaseModel]:
    """A base where a run computes, its U-Net laid out as the run asks; afterwards no block is swapped or compiled.

    Raises:
        ConfigError: more blocks are to be swapped than the U-Net has.
    """
    if asked.swapped:
        with _swapping(base, asked, device, dtype) as base:
            yield base
        return
    # what is stored small goes to the card small: it may have no room for the whole of it
    base = base.to(torch.device("cpu") if asked.stores_small else device, dtype)
    fit_unet(base.unet, asked, device)
    base = base.to(device, dtype)
    with compiled(base.unet, asked.dynamo_backend) if asked.torch_compile else nullcontext():
        yield base


@contextmanager
def _swapping(base: BaseModel, asked: BaseConfig, device: torch.device, dtype: torch.dtype) -> Iterator[BaseModel]:
    check_swap(asked, base.unet, base.name)
    blocks = swappable(base.unet)
    base = base.to(torch.device("cpu"), dtype)  # the card may have no room for the whole of it
    fit_unet(base.unet, asked)
    _tell_swap(asked.swapped, [block_bytes(block) for block in blocks], device)
    away = [blocks[number] for number in spread(len(blocks), asked.swapped)]
    with swapped(away, carrier_to(device)):
        base = base.to(device, dtype)
        move_stored(base.unet, device)
        yield base


def _tell_swap(count: int, sizes: list[int], device: torch.device) -> None:
    saved = sum(sizes) - bytes_on_card(sizes, count)
    log.info(
        "blocks_to_swap: %d of %d blocks wait in host memory; %.2f GiB less on the card",
        count,
        len(sizes),
        saved / 2**30,
    )
    if device.type == "cpu":
        log.warning("blocks_to_swap: there is no card here, so no memory is saved; the weights are copied all the same")


def move_stored(unet: nn.Module, device: torch.device) -> None:
    """Bring the stored weights that are not swapped, which `Module.to` does not know of."""
    for module in unet.modules():
        stored = getattr(module, "stored", None)
        if isinstance(stored, Stored):
            module.stored = stored.to(device)
