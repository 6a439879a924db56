"""What a step is given: which batch, as latents with prompts and masks, and the bank's batch beside it."""

from __future__ import annotations

import torch

from museum_plugin.base.encode import encode_prompts
from museum_plugin.data.captions import with_trigger
from museum_plugin.data.dataset import Batch
from museum_plugin.data.picture import picture_sizes
from museum_plugin.train.reader import BatchReader
from museum_plugin.train.setup import Classroom, Lesson
from museum_plugin.train.step import ReplayInputs, Rng, StyleBatch


def reader_for(room: Classroom, lesson: Lesson) -> BatchReader:
    """What opens the batches of a style ahead; where latents are cached there is nothing to open."""
    training = room.run.training
    threads = 0 if _is_cached(room) else training.reader_threads
    return BatchReader(lesson.dataset, training.seed, lesson.order, threads=threads, steps=lesson.calendar.steps)


def style_batch(room: Classroom, lesson: Lesson, batch: Batch, *, keep: bool = False) -> StyleBatch:
    """The batch as latents on the device; `keep` them in memory even if the run does not cache."""
    if keep or _is_cached(room):
        latents = room.cache.latents(batch.pictures, batch.flipped)
    else:
        latents = room.cache.encode(lesson.dataset.images(batch) if batch.images is None else batch.images)
    weights = torch.tensor([picture.loss_weight for picture in batch.pictures])
    masks = room.cache.masks(batch.pictures, batch.flipped, (latents.shape[2], latents.shape[3]))
    device = room.museum.base.device
    masks = masks if masks is None else masks.to(device)
    shown = zip(batch.pictures, batch.flipped, strict=True)
    sizes = torch.tensor([picture_sizes(*view) for view in shown], dtype=torch.float32, device=device)
    return StyleBatch(latents.to(device), prompts(batch, lesson.phrase), weights.to(device), masks, sizes)


def prompts(batch: Batch, phrase: str) -> tuple[str, ...]:
    """What a batch's pictures are learned with.

    The style's phrase goes into every caption; not into one that was dropped, nor into those of regularisation
    pictures. A picture without caption learns with the phrase alone.
    """

    def prompt(caption: str, written: str, is_reg: bool) -> str:
        if not phrase or is_reg or (written and not caption):
            return caption
        return with_trigger(caption, phrase)

    pairs = zip(batch.captions, batch.pictures, strict=True)
    return tuple(prompt(caption, picture.caption, picture.subset.is_reg) for caption, picture in pairs)


def replay_inputs(room: Classroom, lesson: Lesson, rng: Rng, pictures: int, number: int) -> ReplayInputs | None:
    """The bank's batch of a micro-step, beside so many pictures of the style; None without a bank or where none is due.

    Args:
        number: of the micro-step, counted over all processes.
    """
    count = room.run.replay.anchors_at(pictures, number)
    if lesson.bank is None or not count:
        return None
    batch, weight = lesson.bank.batch(count, rng.python, room.museum.base.device), room.run.replay.weight_at(pictures)
    if room.run.network.train_text_encoder:
        with room.museum.slots.plain(batch.plain):
            return ReplayInputs(batch, encode_prompts(room.museum.base, batch.prompts, lesson.options.text), weight)
    return ReplayInputs(batch, lesson.states.states(batch.prompts, batch.plain), weight)


def _is_cached(room: Classroom) -> bool:
    return room.run.training.cache_latents or room.run.training.cache_latents_to_disk
