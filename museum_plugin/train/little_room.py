"""A word at the start where a card has less memory free than is forecast: some drivers would not even stop the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from museum_plugin.base.folder import BaseOutline
from museum_plugin.base.load import BaseModel
from museum_plugin.base.vae_memory import free_memory
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.museum.museum import Museum
from museum_plugin.train.forecast import GIB, OUTSIDE, Forecast, Forecaster, empty_copies, subject_of
from museum_plugin.train.plan import PlannedStyle
from museum_plugin.train.setup import slot_words_for

log = logging.getLogger("museum")


def warn_of_little_room(run: RunConfig, museum: Museum, lessons: Sequence[tuple[StyleData, StyleDataset]]) -> None:
    """Warn where the card has less room than is forecast. Without a card nothing is done.

    Args:
        lessons: the styles that will be taught.
    """
    device = museum.base.device
    free = free_memory(device)
    if free is None:
        return
    try:
        found = forecast_on(run, museum, lessons)
    except Exception as error:  # it stands on inner parts of torch; a run needs none of them
        log.warning("memory: it could not be forecast here: %s", error)
        return
    told = None if found is None else shortage(found, free + torch.cuda.memory_allocated(device))
    if told is not None:
        log.warning(told)


def forecast_on(run: RunConfig, museum: Museum, lessons: Sequence[tuple[StyleData, StyleDataset]]) -> Forecast | None:
    """The forecast of a run whose base is loaded; None where nothing is taught."""
    plans = [
        PlannedStyle(style, dataset, () if style.name is None else slot_words_for(museum, style, run.slot.vectors))
        for style, dataset in lessons[:1]
    ]
    plans += [PlannedStyle(style, dataset, plans[0].words) for style, dataset in lessons[1:]]
    subject = subject_of(run, plans, museum.ledger)
    if subject is None:
        return None
    base = museum.base
    return Forecaster(_outline(run, base), empty_copies(base), subject).forecast(run)


def shortage(found: Forecast, there: int) -> str | None:
    """What is said where a forecast is larger than the bytes that this process has or can get of a card."""
    needed = found.total - OUTSIDE  # its share of the context is taken already
    if needed <= there:
        return None
    return (
        f"memory: this run is forecast to need {needed / GIB:.1f} GiB of the card, and {there / GIB:.1f} are there. "
        "It may stop, or, where the driver takes host memory instead (Windows), go on many times slower. "
        "`python -m museum_plugin check` with the same flags says what needs less; --fit flips what keeps the result"
    )


def _outline(run: RunConfig, base: BaseModel) -> BaseOutline:
    return BaseOutline(
        path=run.base.path,
        name=base.name,
        family=base.family,
        prediction_type=base.prediction_type,
        timesteps=len(base.alphas_cumprod),
        text_layers=min(encoder.config.num_hidden_layers for encoder in base.text_encoders),
        tokenizers=base.tokenizers,
    )
