"""The loss of pictures that are never trained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor

from museum_plugin.config.schema import LossConfig, RunConfig
from museum_plugin.train.setup import Classroom, Lesson
from museum_plugin.train.step import DENOISING, PassOptions, StyleBatch, loss_terms, rng_for, student_pass

_TIMES = (0.2, 0.4, 0.6, 0.8)
"""Shares of the training timesteps. Source: sd-scripts (200, 400, 600, 800 of 1000)."""


def validation_is_due(lesson: Lesson, run: RunConfig, step: int, accelerator: Accelerator) -> bool:
    """Whether the loss is wanted after this step, counted from 0: where the flags say, and after the last.

    Without flags it is due at the end of every epoch. Source: sd-scripts. Ours: with `validate_every_n_steps` alone
    it is not due at epochs too.
    """
    if not lesson.dataset.validation:
        return False
    training, every = run.training, run.training.validate_every_n_steps
    if step + 1 == training.steps or (every is not None and (step + 1) % every == 0):
        return True
    epochs = training.validate_every_n_epochs or (1 if every is None else None)
    if epochs is None:
        return False
    batches_a_step = training.gradient_accumulation_steps * accelerator.num_processes
    length = lesson.dataset.batches_per_epoch * epochs
    return (step + 1) * batches_a_step // length > step * batches_a_step // length


@torch.no_grad()
def validation_loss(room: Classroom, lesson: Lesson, batches: Iterable[StyleBatch]) -> float:
    """The mean square error of the prediction, over all samples and four timesteps; masks count, min-SNR does not.

    Noise and timesteps are the same whenever it is computed, whatever the run's seed; no random number of the training
    is drawn.
    """
    losses: list[Tensor] = []
    samples = 0
    device = room.museum.base.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), room.accelerator.autocast():
        for number, batch in enumerate(batches):
            for time in _TIMES:
                t = round(time * room.denoiser.timesteps)
                options = PassOptions(LossConfig(), lesson.options.clip_skip, timestep=t)
                rng = rng_for(0, "validation", number, t)
                done = student_pass(room.museum, room.denoiser, batch, rng, None, options)
                found = loss_terms(room.museum, done, {}, options.loss, room.denoiser.prediction_type)
                losses.append(found[DENOISING] * len(batch.latents))
                samples += len(batch.latents)
    return torch.stack(losses).sum().item() / samples
