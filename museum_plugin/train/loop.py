"""READ FIRST. Teach the styles of a run, one after another."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.captions import with_trigger
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError, Interrupted
from museum_plugin.methods import build_terms
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import check_network, new_museum, open_museum
from museum_plugin.train.checkpoint import load_checkpoint, save_checkpoint
from museum_plugin.train.finish import Finished, finish_style, save_between
from museum_plugin.train.log import Progress, StopRequest
from museum_plugin.train.preview import write_previews
from museum_plugin.train.setup import Classroom, Lesson, begin_style, latent_cache
from museum_plugin.train.step import (
    ReplayInputs,
    Rng,
    StyleBatch,
    loss_terms,
    rng_for,
    stop_if_not_finite,
    student_pass,
)

log = logging.getLogger("museum")
_SHOWN_EVERY = 10
_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def train(run: RunConfig) -> list[Finished]:
    """Teach every style that the museum does not know yet; one result for each.

    Raises:
        MuseumError: whatever a user can mend; see `errors.py`. What was there before is untouched.
    """
    build_terms(run.method.name, run.method.weights)
    datasets = [StyleDataset(style) for style in run.styles]
    for dataset in datasets:
        dataset.verify()
    accelerator = _accelerator(run)
    base = load_base(run.base.path).to(accelerator.device, _DTYPES[run.base.mixed_precision])
    if run.base.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    museum = _open(run, base)
    room = Classroom(run, accelerator, museum, Denoiser(base), latent_cache(run, museum))
    results = []
    with StopRequest().listening() as stop, museum.attached():
        for style, dataset in zip(run.styles, datasets, strict=True):
            if _is_taught(museum, style, dataset):
                log.info("%s is in the museum already: skipped", style.name)
                continue
            lesson = begin_style(room, style, dataset)
            seconds = teach_style(room, lesson, stop)
            if accelerator.is_main_process:
                results.append(replace(finish_style(room, lesson), seconds_a_step=seconds))
                checkpoint_path(room).unlink(missing_ok=True)
            accelerator.wait_for_everyone()
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
    start = load_checkpoint(checkpoint_path(room), lesson.training, lesson.name, lesson.identity)
    visible = accelerator.is_local_main_process
    progress = Progress(lesson.title, start, run.training.steps, museum.base.device, visible=visible)
    found: dict[str, Tensor] = {}
    begun = time.perf_counter()
    with closing(progress):
        for step in range(start, run.training.steps):
            for micro in range(run.training.gradient_accumulation_steps):
                found = _backward(room, lesson, step, micro)
            for parameter in parameters if accelerator.num_processes > 1 else ():
                parameter.grad = accelerator.reduce(parameter.grad, "mean")
            for term, _ in lesson.training.terms.values():
                term.after_backward(museum)
            if run.optimizer.max_grad_norm:
                accelerator.clip_grad_norm_(parameters, run.optimizer.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            progress.update(found, show=step % _SHOWN_EVERY == 0)
            _report(room, lesson, step, progress)
            _save(room, lesson, step, stop)
    return (time.perf_counter() - begun) / max(1, run.training.steps - start)


def _backward(room: Classroom, lesson: Lesson, step: int, micro: int) -> dict[str, Tensor]:
    """One micro-step: teachers' numbers, the student's pass, its terms, the gradients. Returns the weighted terms."""
    run, accelerator = room.run, room.accelerator
    accumulated, processes = run.training.gradient_accumulation_steps, accelerator.num_processes
    part = micro * processes + accelerator.process_index
    rng = rng_for(run.training.seed, lesson.name, step, part)
    batch, pictures = _style_batch(room, lesson, step * accumulated * processes + part)
    replay = _replay_inputs(room, lesson, rng)
    with accelerator.autocast():
        done = student_pass(room.museum, room.denoiser, batch, rng, replay, lesson.options)
        found = loss_terms(room.museum, done, lesson.training.terms, run.loss, room.denoiser.prediction_type)
    stop_if_not_finite(found, lesson.title, step, pictures)
    accelerator.backward(torch.stack(list(found.values())).sum() / accumulated)
    return found


def _report(room: Classroom, lesson: Lesson, step: int, progress: Progress) -> None:
    if room.run.output.log_with and step % _SHOWN_EVERY == 0:
        losses = {f"{lesson.title}/{name}": value for name, value in progress.means().items()}
        rate = lesson.training.schedule.get_last_lr()[0]
        room.accelerator.log({**losses, f"{lesson.title}/learning_rate": rate}, step=step)
    if _is_due(room.run.preview.every_n_steps, step):
        write_previews(room, lesson, step + 1)


def _save(room: Classroom, lesson: Lesson, step: int, stop: StopRequest) -> None:
    """Keep the state where it is due: at the chosen steps, at the end, and when asked to stop.

    Raises:
        Interrupted: asked to stop; everything is saved.
    """
    steps, due = room.run.training.steps, _is_due(room.run.output.save_every_n_steps, step)
    last = step + 1 == steps
    if room.accelerator.is_main_process and (last or due or stop.asked):
        save_checkpoint(checkpoint_path(room), lesson.training, lesson.name, step + 1, lesson.identity)
        if due and not last:
            save_between(room, lesson, step + 1)
    if stop.asked and not last:
        raise Interrupted(
            f"stopped after step {step + 1} of {steps} of {lesson.title}; everything is saved in "
            f"{checkpoint_path(room)}. Give the same command again to go on from there."
        )


def checkpoint_path(room: Classroom) -> Path:
    """Where the state of an unfinished style is kept."""
    output = room.run.output
    return output.output_dir / f"{output.output_name}.unfinished.pt"


def _style_batch(room: Classroom, lesson: Lesson, index: int) -> tuple[StyleBatch, list[str]]:
    batch = lesson.dataset.batch(index, room.run.training.seed)
    if room.run.training.cache_latents or room.run.training.cache_latents_to_disk:
        latents = room.cache.latents(batch.pictures, batch.flipped)
    else:
        latents = room.cache.encode(lesson.dataset.images(batch))
    prompts = tuple(with_trigger(c, lesson.phrase) if c and lesson.phrase else c for c in batch.captions)
    weights = torch.tensor([picture.loss_weight for picture in batch.pictures])
    device = room.museum.base.device
    return StyleBatch(latents.to(device), prompts, weights.to(device)), [str(p.path) for p in batch.pictures]


def _replay_inputs(room: Classroom, lesson: Lesson, rng: Rng) -> ReplayInputs | None:
    if lesson.bank is None:
        return None
    batch = lesson.bank.batch(room.run.replay.batch_size, rng.python, room.museum.base.device)
    if room.run.network.train_text_encoder:
        return ReplayInputs(batch, encode_prompts(room.museum.base, batch.prompts, clip_skip=room.run.base.clip_skip))
    return ReplayInputs(batch, lesson.states.states(batch.prompts))


def _accelerator(run: RunConfig) -> Accelerator:
    precision = run.base.mixed_precision
    accelerator = Accelerator(
        mixed_precision=precision, log_with=run.output.log_with, project_dir=run.output.logging_dir
    )
    if run.output.log_with:
        accelerator.init_trackers(run.output.output_name)
    return accelerator


def _open(run: RunConfig, base: BaseModel) -> Museum:
    """The museum that grows: the file's, or a new one."""
    network = run.network
    path = run.output.museum
    if path is None or not path.exists():
        return new_museum(
            base,
            rank=network.rank,
            alpha=network.alpha,
            seed=run.training.seed,
            with_text_encoder=network.train_text_encoder,
        )
    museum = open_museum(path, base)
    check_network(museum, path, rank=network.rank, alpha=network.alpha, with_text_encoder=network.train_text_encoder)
    return museum


def _is_taught(museum: Museum, style: StyleData, dataset: StyleDataset) -> bool:
    """Whether the museum knows this style from these pictures.

    Raises:
        ConfigError: it knows another style of this name.
    """
    for record in museum.ledger.styles:
        if record.name == style.name:
            if record.data_fingerprint == dataset.fingerprint:
                return True
            raise ConfigError(
                f"style {style.name!r} is in this museum already, taught from other pictures or captions; "
                "give this one another name with --style, or go back with `python -m museum_plugin rollback`"
            )
    return False


def _is_due(every: int | None, step: int) -> bool:
    return every is not None and (step + 1) % every == 0
