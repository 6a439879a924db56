"""The loss of pictures that are never trained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import LossConfig, TrainingConfig
from museum_plugin.museum.museum import Museum
from museum_plugin.train.calendar import Calendar
from museum_plugin.train.step import DENOISING, PassOptions, StyleBatch, loss_terms, rng_for, student_pass

_TIMES = (0.2, 0.4, 0.6, 0.8)
"""Shares of the training timesteps. Source: sd-scripts (200, 400, 600, 800 of 1000)."""


def validation_is_due(training: TrainingConfig, calendar: Calendar, done: int) -> bool:
    """Whether the loss is wanted after `done` steps: where the flags say, and after the last.

    Without flags it is due at the end of every epoch. Source: sd-scripts. Ours: with `validate_every_n_steps` alone
    it is not due at epochs too.
    """
    every, epochs = training.validate_every_n_steps, training.validate_every_n_epochs
    if done == calendar.steps or (every is not None and done % every == 0):
        return True
    if epochs is None and every is not None:
        return False
    epoch = calendar.epoch_ended(done)
    return epoch is not None and epoch % (epochs or 1) == 0


@torch.no_grad()
def validation_loss(museum: Museum, denoiser: Denoiser, batches: Iterable[StyleBatch], text: TextEncoding) -> float:
    """The mean square error of the prediction, over all samples and four timesteps.

    Masks count; loss type, weights and noise options of the run do not, so that runs can be compared.
    Noise and timesteps are the same whenever it is computed, whatever the run's seed; no random number of the training
    is drawn.

    Args:
        batches: one at least.
        text: as in training.
    """
    losses: list[Tensor] = []
    samples = 0
    device = museum.base.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for number, batch in enumerate(batches):
            for time in _TIMES:
                t = round(time * denoiser.timesteps)
                options = PassOptions(LossConfig(), text, timestep=t)
                rng = rng_for(0, "validation", number, t)
                done = student_pass(museum, denoiser, batch, rng, options)
                found = loss_terms(museum, done, {}, options.loss, denoiser.prediction_type)
                losses.append(found[DENOISING] * len(batch.latents))
                samples += len(batch.latents)
    return torch.stack(losses).sum().item() / samples
