"""READ FIRST. Teach the styles of a run, one after another."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import Parameter

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import load_base
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.captions import with_trigger
from museum_plugin.data.dataset import Batch, StyleDataset
from museum_plugin.errors import Interrupted, NotFiniteError
from museum_plugin.train.between import save_progress
from museum_plugin.train.calendar import preview_due
from museum_plugin.train.checkpoint import restore
from museum_plugin.train.finish import Finished, finish_style
from museum_plugin.train.header import chosen_metadata
from museum_plugin.train.log import Progress
from museum_plugin.train.museum_file import MuseumFile, museum_lock, result_path
from museum_plugin.train.nonfinite import advance_without_step, gradients_are_finite, not_finite_gradients
from museum_plugin.train.preview import write_previews
from museum_plugin.train.processes import any_process, average_gradients
from museum_plugin.train.resume import check_resume
from museum_plugin.train.setup import Classroom, Lesson, begin_style, checkpoint_path, latent_cache
from museum_plugin.train.start import check_run, make_accelerator, open_or_begin, styles_to_teach
from museum_plugin.train.step import (
    ReplayInputs,
    Rng,
    StyleBatch,
    loss_terms,
    not_finite,
    not_finite_error,
    rng_for,
    student_pass,
)
from museum_plugin.train.stop import StopRequest

_SHOWN_EVERY = 10
_GO_ON = "Give the same command again to go on from there."
_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def train(run: RunConfig) -> list[Finished]:
    """Teach every style that the museum does not know yet; one result for each.

    Raises:
        MuseumError: whatever a user can mend; see `errors.py`. What was there before is untouched.
    """
    check_run(run)
    with StopRequest().listening() as stop, ExitStack() as held:
        with stop.at_once("stopped before anything was taught; nothing was changed"):
            room, lessons = open_classroom(run, held)
        results: list[Finished] = []
        for style, dataset in lessons:
            title = f"style {style.name!r}" if style.name else "the LoRA"
            if results and any_process(room.accelerator, stop.asked):
                raise Interrupted(f"stopped before {title}; what was learned is saved. {_GO_ON}", stop.number)
            with stop.at_once(f"stopped while {title} was prepared; what was there before is unchanged. {_GO_ON}"):
                lesson = begin_style(room, style, dataset)
            seconds = teach_style(room, lesson, stop)
            results.append(replace(finish_style(room, lesson), seconds_a_step=seconds))
            room.accelerator.wait_for_everyone()
            if room.accelerator.scaler is not None:
                room.accelerator.free_memory()  # else it would unscale the next style's gradients twice
    return results


def open_classroom(run: RunConfig, held: ExitStack) -> tuple[Classroom, list[tuple[StyleData, StyleDataset]]]:
    """Read pictures, base and museum, which is locked and attached until `held` is closed; and what is to be taught.

    Raises:
        MuseumError: a picture, the base or the museum cannot be used, or another run teaches this museum.
    """
    accelerator = make_accelerator(run)
    held.callback(accelerator.end_training)
    if run.output.museum is not None and accelerator.is_main_process:
        held.enter_context(museum_lock(run.output.museum))
    file = MuseumFile(result_path(run.output))
    datasets = [StyleDataset(style) for style in run.styles]
    for dataset in datasets:
        dataset.verify()
    base = load_base(run.base.path).to(accelerator.device, _DTYPES[run.base.mixed_precision])
    if run.base.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    museum = open_or_begin(run, base)
    museum.metadata.update(chosen_metadata(run.metadata))
    lessons = styles_to_teach(museum, run, datasets)
    check_resume(run.output, museum, [style.name or "" for style, _ in lessons])
    held.enter_context(museum.attached())
    return Classroom(run, accelerator, museum, Denoiser(base), latent_cache(run, museum), file), lessons


def teach_style(room: Classroom, lesson: Lesson, stop: StopRequest) -> float:
    """The steps of one style, from wherever a checkpoint left off.

    Returns:
        Mean seconds of a step.

    Raises:
        NotFiniteError: a loss or gradient is not finite; nothing of that step is kept.
        Interrupted: asked to stop; the state after the last whole step is saved.
    """
    run, museum, accelerator, steps = room.run, room.museum, room.accelerator, lesson.calendar.steps
    optimizer, schedule, skips = lesson.training.optimizer, lesson.training.schedule, lesson.training.skips
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    start = restore(lesson.training, lesson.name, lesson.unfinished)
    visible = accelerator.is_local_main_process
    smooth = lesson.training.smooth
    progress = Progress(lesson.title, start, steps, museum.base.device, visible=visible, smooth=smooth)
    found: dict[str, Tensor] = {}
    begun = time.perf_counter()
    with closing(progress):
        if start == 0:
            _preview(room, lesson, 0, stop)
        for step in range(start, steps):
            try:
                for micro in range(run.training.gradient_accumulation_steps):
                    found = _backward(room, lesson, step, micro)
                average_gradients(accelerator, parameters)
                _check_gradients(room, lesson, step, parameters)
            except NotFiniteError as refused:
                skips.take(refused)
                advance_without_step(schedule)
            else:
                skips.in_a_row = 0
                for term, _ in lesson.training.terms.values():
                    term.after_backward(museum)
                if run.optimizer.max_grad_norm:
                    accelerator.clip_grad_norm_(parameters, run.optimizer.max_grad_norm)
                optimizer.step()
                schedule.step()
            optimizer.zero_grad()
            progress.update(found, show=step % _SHOWN_EVERY == 0)
            _report(room, lesson, step, progress)
            _preview(room, lesson, step + 1, stop)
            _save(room, lesson, step + 1, stop)
    return (time.perf_counter() - begun) / max(1, steps - start)


def _backward(room: Classroom, lesson: Lesson, step: int, micro: int) -> dict[str, Tensor]:
    """One micro-step: teachers' numbers, the student's pass, its terms, the gradients. Returns the weighted terms."""
    run, accelerator = room.run, room.accelerator
    part = micro * accelerator.num_processes + accelerator.process_index
    rng = rng_for(run.training.seed, lesson.name, step, part)
    batch, pictures = _style_batch(room, lesson, _batch_index(room, step, micro))
    replay = _replay_inputs(room, lesson, rng)
    with accelerator.autocast():
        done = student_pass(room.museum, room.denoiser, batch, rng, replay, lesson.options)
        found = loss_terms(room.museum, done, lesson.training.terms, run.loss, room.denoiser.prediction_type)
    bad = not_finite(found)
    if any_process(accelerator, bool(bad)):
        raise not_finite_error(bad, lesson.title, step, pictures)
    accelerator.backward(torch.stack(list(found.values())).sum() / run.training.gradient_accumulation_steps)
    return found


def _batch_index(room: Classroom, step: int, micro: int) -> int:
    """Which batch of the style a process takes in a micro-step."""
    accumulated, processes = room.run.training.gradient_accumulation_steps, room.accelerator.num_processes
    return (step * accumulated + micro) * processes + room.accelerator.process_index


def _check_gradients(room: Classroom, lesson: Lesson, step: int, parameters: list[Parameter]) -> None:
    """Refuse a step whose gradients are not finite although its loss is; the scaler of fp16 does so itself.

    Raises:
        NotFiniteError: names modules and pictures.
    """
    if room.accelerator.scaler is not None or gradients_are_finite(parameters):
        return
    seed, micros = room.run.training.seed, range(room.run.training.gradient_accumulation_steps)
    batches = [lesson.dataset.batch(_batch_index(room, step, micro), seed) for micro in micros]
    pictures = [str(picture.path) for batch in batches for picture in batch.pictures]
    bad = not_finite_gradients(room.museum, lesson.name)
    raise not_finite_error(bad, lesson.title, step, pictures, what="gradient")


def _report(room: Classroom, lesson: Lesson, step: int, progress: Progress) -> None:
    if room.run.output.log_with and step % _SHOWN_EVERY == 0:
        losses = {f"{lesson.title}/{name}": value for name, value in progress.means().items()}
        rate = lesson.training.schedule.get_last_lr()[0]
        room.accelerator.log({**losses, f"{lesson.title}/learning_rate": rate}, step=step)


def _preview(room: Classroom, lesson: Lesson, done: int, stop: StopRequest) -> None:
    number = preview_due(room.run.preview, lesson.calendar, done)
    if number is not None and room.accelerator.is_main_process:
        write_previews(room, lesson, number, lambda: stop.asked)


def _save(room: Classroom, lesson: Lesson, done: int, stop: StopRequest) -> None:
    """Keep what is due, and the whole state when asked to stop.

    Raises:
        Interrupted: asked to stop; everything is saved.
    """
    asked = any_process(room.accelerator, stop.asked)
    if room.accelerator.is_main_process:
        save_progress(room, lesson, done, asked=asked)
    if asked and done < lesson.calendar.steps:
        raise Interrupted(
            f"stopped after step {done} of {lesson.calendar.steps} of {lesson.title}; everything is saved in "
            f"{checkpoint_path(room)}. {_GO_ON}",
            stop.number,
        )


def _style_batch(room: Classroom, lesson: Lesson, index: int) -> tuple[StyleBatch, list[str]]:
    batch = lesson.dataset.batch(index, room.run.training.seed)
    if room.run.training.cache_latents or room.run.training.cache_latents_to_disk:
        latents = room.cache.latents(batch.pictures, batch.flipped)
    else:
        latents = room.cache.encode(lesson.dataset.images(batch))
    weights = torch.tensor([picture.loss_weight for picture in batch.pictures])
    device = room.museum.base.device
    style_batch = StyleBatch(latents.to(device), prompts(batch, lesson.phrase), weights.to(device))
    return style_batch, [str(p.path) for p in batch.pictures]


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


def _replay_inputs(room: Classroom, lesson: Lesson, rng: Rng) -> ReplayInputs | None:
    if lesson.bank is None:
        return None
    batch = lesson.bank.batch(room.run.replay.batch_size, rng.python, room.museum.base.device)
    if room.run.network.train_text_encoder:
        return ReplayInputs(batch, encode_prompts(room.museum.base, batch.prompts, clip_skip=room.run.base.clip_skip))
    return ReplayInputs(batch, lesson.states.states(batch.prompts))
