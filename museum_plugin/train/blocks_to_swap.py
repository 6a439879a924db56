"""How many blocks a run swaps where it leaves that to what the card has room for."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from museum_plugin.base.folder import empty_networks
from museum_plugin.base.outline import read_outline
from museum_plugin.base.vae_memory import free_memory
from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import RunConfig
from museum_plugin.config.schema.base import AUTO
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.museum.file import read_museum
from museum_plugin.train.forecast import Forecaster, subject_of
from museum_plugin.train.plan import plan_styles
from museum_plugin.train.resume import id_to_begin_with, ledger_of_state

log = logging.getLogger("museum")


def with_blocks_counted(run: RunConfig, datasets: list[StyleDataset], device: torch.device) -> RunConfig:
    """A run that says how many blocks it swaps, as `with_blocks_swapped`, before its base is on the card.

    Args:
        datasets: of the styles of the run, in their order.
    Raises:
        MuseumError: base or museum cannot be read, or a style of the run is not possible.
    """
    if run.base.blocks_to_swap != AUTO:
        return run
    card, base, path = free_memory(device), read_outline(run.base), run.output.museum
    if card is None:
        return with_blocks_swapped(run, None, None)
    ledger = read_museum(path).ledger if path is not None and path.exists() else ledger_of_state(run.output)
    pairs, museum_id = list(zip(run.styles, datasets, strict=True)), "" if ledger else id_to_begin_with(run, base)
    plans = plan_styles(ledger, base, pairs, run.slot.vectors, Problems(), museum_id)
    subject = subject_of(run, [plan for plan in plans if not plan.is_taught], ledger)
    return with_blocks_swapped(run, Forecaster(base, empty_networks(base), subject) if subject else None, card)


def with_blocks_swapped(run: RunConfig, forecaster: Forecaster | None, card: int | None) -> RunConfig:
    """A run whose `blocks_to_swap` is a number: where it says auto, the least with which the run is forecast to fit.

    Args:
        forecaster: None: nothing will be taught.
        card: bytes of the card that are free; None: there is no card, and nothing is swapped.
    """
    if run.base.blocks_to_swap != AUTO:
        return run
    count = 0 if forecaster is None or card is None else _count(run, forecaster, card)
    log.info("blocks_to_swap: auto is %d here", count)
    return replace(run, base=replace(run.base, blocks_to_swap=count))


def _count(run: RunConfig, forecaster: Forecaster, card: int) -> int:
    count = forecaster.blocks_to_swap(run, card)
    if count is None:
        count = forecaster.swappable_blocks
        log.warning("blocks_to_swap: even with all %d blocks swapped this run is forecast not to fit", count)
    return count
