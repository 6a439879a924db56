"""READ FIRST. Teach the styles of a run, one after another."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import load_base
from museum_plugin.config.schema import RunConfig
from museum_plugin.data.captions import with_trigger
from museum_plugin.data.dataset import Batch, StyleDataset
from museum_plugin.errors import Interrupted
from museum_plugin.museum.norms import limit_norms
from museum_plugin.train.checkpoint import restore, save_checkpoint
from museum_plugin.train.finish import Finished, finish_style, save_between
from museum_plugin.train.log import Progress, StopRequest
from museum_plugin.train.optimizer import averaged, take_average
from museum_plugin.train.preview import write_previews
from museum_plugin.train.processes import any_process, average_gradients
from museum_plugin.train.reader import BatchReader
from museum_plugin.train.setup import Classroom, Lesson, begin_style, checkpoint_path, latent_cache
from museum_plugin.train.start import (
    check_run,
    make_accelerator,
    open_or_begin,
    styles_to_teach,
    with_base_weights,
    with_noise_schedule,
)
from museum_plugin.train.step import (
    ReplayInputs,
    Rng,
    StyleBatch,
    loss_terms,
    not_finite,
    not_finite_error,
    number_for,
    rng_for,
    student_pass,
)
from museum_plugin.train.validation import validation_is_due, validation_loss

log = logging.getLogger("museum")
_SHOWN_EVERY = 10
_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def train(run: RunConfig) -> list[Finished]:
    """Teach every style that the museum does not know yet; one result for each.

    Raises:
        MuseumError: whatever a user can mend; see `errors.py`. What was there before is untouched.
    """
    check_run(run)
    datasets = [StyleDataset(style, prior_loss_weight=run.loss.prior_loss_weight) for style in run.styles]
    for dataset in datasets:
        dataset.verify()
    accelerator = make_accelerator(run)
    base = with_base_weights(with_noise_schedule(load_base(run.base.path, run.base), run.loss), run.network)
    base = base.to(accelerator.device, _DTYPES[run.base.mixed_precision])
    if run.base.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    museum = open_or_begin(run, base)
    lessons = styles_to_teach(museum, run, datasets)
    room = Classroom(run, accelerator, museum, Denoiser(base), latent_cache(run, museum))
    results: list[Finished] = []
    try:
        with StopRequest().listening() as stop, museum.attached():
            for style, dataset in lessons:
                if results and any_process(accelerator, stop.asked):
                    raise Interrupted(
                        f"stopped before style {style.name!r}; what was learned is saved. "
                        "Give the same command again to go on from there."
                    )
                lesson = begin_style(room, style, dataset)
                seconds = teach_style(room, lesson, stop)
                results.append(replace(finish_style(room, lesson), seconds_a_step=seconds))
                accelerator.wait_for_everyone()
                if accelerator.scaler is not None:
                    accelerator.free_memory()  # else it would unscale the next style's gradients twice
    finally:
        accelerator.end_training()
    return results


def teach_style(room: Classroom, lesson: Lesson, stop: StopRequest) -> float:
    """The steps of one style, from wherever a checkpoint left off.

    Returns:
        Mean seconds of a step.

    Raises:
        TrainingError: a loss is not finite; nothing of that step is kept.
        Interrupted: asked to stop; the state after the last whole step is saved.
    """
    run, museum, accelerator = room.run, room.museum, room.accelerator
    optimizer, schedule = lesson.training.optimizer, lesson.training.schedule
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    start = restore(lesson.training, lesson.name, lesson.unfinished)
    visible = accelerator.is_local_main_process
    progress = Progress(lesson.title, start, run.training.steps, museum.base.device, visible=visible)
    found: dict[str, Tensor] = {}
    begun = time.perf_counter()
    with closing(progress), closing(_reader(room, lesson)) as reader:
        for step in range(start, run.training.steps):
            for micro in range(run.training.gradient_accumulation_steps):
                found = _backward(room, lesson, reader, step, micro)
            average_gradients(accelerator, parameters)
            for term, _ in lesson.training.terms.values():
                term.after_backward(museum)
            if run.optimizer.max_grad_norm:
                accelerator.clip_grad_norm_(parameters, run.optimizer.max_grad_norm)
            optimizer.step()
            if run.network.scale_weight_norms is not None:
                found |= limit_norms(museum.network, run.network.scale_weight_norms)
            schedule.step()
            optimizer.zero_grad()
            progress.update(found, show=step % _SHOWN_EVERY == 0)
            _report(room, lesson, step, progress)
            _validate(room, lesson, step, progress)
            _save(room, lesson, step, stop)
    take_average(optimizer)
    return (time.perf_counter() - begun) / max(1, run.training.steps - start)


def _backward(room: Classroom, lesson: Lesson, reader: BatchReader, step: int, micro: int) -> dict[str, Tensor]:
    """One micro-step: teachers' numbers, the student's pass, its terms, the gradients. Returns the weighted terms."""
    run, accelerator = room.run, room.accelerator
    accumulated, processes = run.training.gradient_accumulation_steps, accelerator.num_processes
    part = micro * processes + accelerator.process_index
    rng = rng_for(run.training.seed, lesson.name, step, part)
    shown = reader.batch(step * accumulated * processes + part)
    batch = _style_batch(room, lesson, shown)
    with room.museum.network.dropping(number_for(run.training.seed, lesson.name, step, part)):
        replay = _replay_inputs(room, lesson, rng, len(shown.pictures))
        with accelerator.autocast():
            done = student_pass(room.museum, room.denoiser, batch, rng, replay, lesson.options)
            found = loss_terms(room.museum, done, lesson.training.terms, run.loss, room.denoiser.prediction_type)
        bad = not_finite(found)
        if any_process(accelerator, bool(bad)):
            raise not_finite_error(bad, lesson.title, step, [str(p.path) for p in shown.pictures])
        total = torch.stack(list(found.values())).sum() / accumulated
        if total.requires_grad:  # not where dropout left out every layer
            accelerator.backward(total)
    return found


def _report(room: Classroom, lesson: Lesson, step: int, progress: Progress) -> None:
    if room.run.output.log_with and step % _SHOWN_EVERY == 0:
        losses = {f"{lesson.title}/{name}": value for name, value in progress.means().items()}
        rate = lesson.training.schedule.get_last_lr()[0]
        room.accelerator.log({**losses, f"{lesson.title}/learning_rate": rate}, step=step)
    if _is_due(room.run.preview.every_n_steps, step):
        with averaged(lesson.training.optimizer):
            write_previews(room, lesson, step + 1)


def _validate(room: Classroom, lesson: Lesson, step: int, progress: Progress) -> None:
    """The loss of the held-out pictures where it is due; without such pictures nothing happens."""
    training, dataset = room.run.training, lesson.dataset
    size = training.gradient_accumulation_steps * room.accelerator.num_processes
    if not (dataset.validation and room.accelerator.is_main_process):
        return
    if not validation_is_due(training, step, batches_a_step=size, batches_an_epoch=dataset.batches_per_epoch):
        return
    batches = dataset.validation[: training.max_validation_steps]
    shown = (_style_batch(room, lesson, batch, keep=True) for batch in batches)
    with room.accelerator.autocast():
        loss = validation_loss(room.museum, room.denoiser, shown, lesson.options.text)
    progress.note("validation", loss)
    log.info("%s: validation loss %.4f after step %d", lesson.title, loss, step + 1)
    if room.run.output.log_with:
        room.accelerator.log({f"{lesson.title}/validation": loss}, step=step)


def _save(room: Classroom, lesson: Lesson, step: int, stop: StopRequest) -> None:
    """Keep the state where it is due: at the chosen steps, at the end, and when asked to stop.

    Raises:
        Interrupted: asked to stop; everything is saved.
    """
    steps, due = room.run.training.steps, _is_due(room.run.output.save_every_n_steps, step)
    last, asked = step + 1 == steps, any_process(room.accelerator, stop.asked)
    if room.accelerator.is_main_process and (last or due or asked):
        save_checkpoint(checkpoint_path(room), lesson.training, lesson.name, step + 1, lesson.identity)
        if due and not last:
            with averaged(lesson.training.optimizer):
                save_between(room, lesson, step + 1)
    if asked and not last:
        raise Interrupted(
            f"stopped after step {step + 1} of {steps} of {lesson.title}; everything is saved in "
            f"{checkpoint_path(room)}. Give the same command again to go on from there."
        )


def _reader(room: Classroom, lesson: Lesson) -> BatchReader:
    training = room.run.training
    return BatchReader(
        lesson.dataset,
        training.seed,
        threads=0 if _is_cached(room) else training.reader_threads,
        stride=room.accelerator.num_processes,
        accumulated=training.gradient_accumulation_steps,
        steps=training.steps,
    )


def _is_cached(room: Classroom) -> bool:
    return room.run.training.cache_latents or room.run.training.cache_latents_to_disk


def _style_batch(room: Classroom, lesson: Lesson, batch: Batch, *, keep: bool = False) -> StyleBatch:
    """The batch as latents on the device; `keep` them in memory even if the run does not cache."""
    if keep or _is_cached(room):
        latents = room.cache.latents(batch.pictures, batch.flipped)
    else:
        latents = room.cache.encode(lesson.dataset.images(batch) if batch.images is None else batch.images)
    weights = torch.tensor([picture.loss_weight for picture in batch.pictures])
    masks = room.cache.masks(batch.pictures, batch.flipped, (latents.shape[2], latents.shape[3]))
    device = room.museum.base.device
    masks = masks if masks is None else masks.to(device)
    return StyleBatch(latents.to(device), prompts(batch, lesson.phrase), weights.to(device), masks)


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


def _replay_inputs(room: Classroom, lesson: Lesson, rng: Rng, pictures: int) -> ReplayInputs | None:
    if lesson.bank is None:
        return None
    batch = lesson.bank.batch(room.run.replay.anchors_beside(pictures), rng.python, room.museum.base.device)
    if room.run.network.train_text_encoder:
        return ReplayInputs(batch, encode_prompts(room.museum.base, batch.prompts, lesson.options.text))
    return ReplayInputs(batch, lesson.states.states(batch.prompts))


def _is_due(every: int | None, step: int) -> bool:
    return every is not None and (step + 1) % every == 0
