"""When what is due in the course of a style: pure functions of its steps. Source of the rules: sd-scripts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from museum_plugin.config.schema import OutputConfig, PreviewConfig, TrainingConfig
from museum_plugin.train.batch_order import BatchOrder


@dataclass(frozen=True)
class Calendar:
    """The length of a style, in steps of the optimizer and in epochs."""

    steps: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """The last one may be cut short by `max_train_steps`."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def epoch_ended(self, done: int) -> int | None:
        """The epoch, from 1, that ends with the `done`-th step; None in the midst of one."""
        if done == self.steps or done % self.steps_per_epoch == 0:
            return math.ceil(done / self.steps_per_epoch)
        return None


@dataclass(frozen=True)
class Save:
    """A file in between that is due."""

    suffix: str
    """What follows the name of the run, such as "-step00000100" or "-000002"."""
    expired: str | None
    """The suffix of the file that has to go for it."""
    expired_state: str | None


def calendar_for(training: TrainingConfig, order: BatchOrder) -> Calendar:
    """How long a style takes whose batches are learned in this order."""
    steps = training.steps if training.epochs is None else training.epochs * order.steps_per_epoch
    return Calendar(steps, order.steps_per_epoch)


def saves_due(output: OutputConfig, calendar: Calendar, done: int) -> list[Save]:
    """The files in between that are due after `done` steps; none at the end, which has a file of its own."""
    if done == calendar.steps:
        return []
    due, epoch = [], calendar.epoch_ended(done)
    every = output.save_every_n_steps
    if every and done % every == 0:
        keep = (output.save_last_n_steps, output.save_last_n_steps_state or output.save_last_n_steps)
        due.append(_save(step_suffix, done, *(expired_step(done, every, last) for last in keep)))
    every = epochs_between_saves(output, calendar)
    if epoch and every and epoch % every == 0:
        keep = (output.save_last_n_epochs, output.save_last_n_epochs_state or output.save_last_n_epochs)
        due.append(_save(epoch_suffix, epoch, *(expired_epoch(epoch, every, last) for last in keep)))
    return due


def _save(suffix: Callable[[int], str], number: int, expired: int | None, expired_state: int | None) -> Save:
    return Save(
        suffix(number),
        None if expired is None else suffix(expired),
        None if expired_state is None else suffix(expired_state),
    )


def epochs_between_saves(output: OutputConfig, calendar: Calendar) -> int | None:
    """`save_n_epoch_ratio` asks for at least so many files over the whole run, and wins."""
    if output.save_n_epoch_ratio:
        return calendar.epochs // output.save_n_epoch_ratio or 1
    return output.save_every_n_epochs


def expired_step(done: int, every: int, keep: int | None) -> int | None:
    """The step whose file goes when that of `done` is written: the last one more than `keep` steps ago."""
    if not keep:
        return None
    step = done - keep - 1
    return step - step % every if step >= every else None


def expired_epoch(epoch: int, every: int, keep: int | None) -> int | None:
    """The epoch whose file goes when that of `epoch` is written, so that `keep` files stay."""
    return epoch - every * keep if keep and epoch > every * keep else None


def step_suffix(step: int) -> str:
    """As sd-scripts names the file of a step."""
    return f"-step{step:08d}"


def epoch_suffix(epoch: int) -> str:
    """As sd-scripts names the file of an epoch."""
    return f"-{epoch:06d}"


def preview_due(preview: PreviewConfig, calendar: Calendar, done: int) -> str | None:
    """How the previews due after `done` steps are numbered: by their epoch ("e000002"), by their step ("000100").

    None where none are due.
    """
    if done == 0:
        return f"e{0:06d}" if preview.at_first else None
    epoch = calendar.epoch_ended(done)
    if preview.every_n_epochs:
        return f"e{epoch:06d}" if epoch and epoch % preview.every_n_epochs == 0 else None
    return f"{done:06d}" if preview.every_n_steps and done % preview.every_n_steps == 0 else None
