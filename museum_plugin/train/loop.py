"""READ FIRST. Teach the styles of a run, one after another."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from dataclasses import replace

from torch import Tensor
from torch.nn import Parameter

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import Interrupted, NoRoomError, NotFiniteError
from museum_plugin.methods.method import Reads
from museum_plugin.museum.norms import limit_norms
from museum_plugin.train.between import save_progress
from museum_plugin.train.blocks_to_swap import with_blocks_counted
from museum_plugin.train.calendar import preview_due
from museum_plugin.train.checkpoint import restore
from museum_plugin.train.extra import extra_rounds
from museum_plugin.train.finish import Finished, finish_style
from museum_plugin.train.header import chosen_metadata
from museum_plugin.train.inputs import reader_for, replay_inputs, style_batch
from museum_plugin.train.little_room import warn_of_little_room
from museum_plugin.train.log import Progress
from museum_plugin.train.logs import log_numbers
from museum_plugin.train.museum_file import MuseumFile, museum_lock
from museum_plugin.train.no_room import saved_when_full, told_when_full, with_less
from museum_plugin.train.nonfinite import (
    advance_without_step,
    gradients_are_finite,
    has_gradients,
    not_finite_gradients,
)
from museum_plugin.train.optimizer import averaged, take_average
from museum_plugin.train.paths import museum_file
from museum_plugin.train.plan import styles_to_teach
from museum_plugin.train.preview import write_previews
from museum_plugin.train.processes import any_process, average_gradients
from museum_plugin.train.published import publish_result
from museum_plugin.train.reader import BatchReader
from museum_plugin.train.resume import check_resume
from museum_plugin.train.setup import Classroom, Lesson, begin_style, checkpoint_path, latent_cache
from museum_plugin.train.start import check_run, make_accelerator, museum_on_base
from museum_plugin.train.step import (
    add_gradients,
    fits_beside,
    loss_terms,
    not_finite,
    not_finite_error,
    number_for,
    penalties,
    replay_pass,
    rng_for,
    student_pass,
)
from museum_plugin.train.stop import StopRequest
from museum_plugin.train.validation import validation_is_due, validation_loss
from museum_plugin.train.watch import begin_watch, judge_if_due

log = logging.getLogger("museum")
_SHOWN_EVERY = 10
_GO_ON = "Give the same command again to go on from there."


def train(run: RunConfig) -> list[Finished]:
    """Teach every style that the museum does not know yet; one result for each.

    Raises:
        MuseumError: whatever a user can mend; see `errors.py`. What was there before is untouched.
    """
    check_run(run)
    results: list[Finished] = []
    with StopRequest().listening() as stop:
        while True:
            try:
                with ExitStack() as held:
                    teach_styles(run, stop, held, results)
                return results
            except NoRoomError as full:
                run = with_less(run, full)


def teach_styles(run: RunConfig, stop: StopRequest, held: ExitStack, results: list[Finished]) -> None:
    """Teach the styles that are left, each with its result.

    Raises:
        MuseumError: see `train`.
    """
    nothing_yet = stop.at_once("stopped before anything was taught; nothing was changed")
    with nothing_yet, told_when_full("while the base model was loaded"):
        room, lessons = open_classroom(run, held)
    for style, dataset in lessons:
        title = f"style {style.name!r}" if style.name else "the LoRA"
        if results and any_process(room.accelerator, stop.asked):
            raise Interrupted(f"stopped before {title}; what was learned is saved. {_GO_ON}", stop.number)
        preparing = stop.at_once(f"stopped while {title} was prepared; what was there before is unchanged. {_GO_ON}")
        with preparing, told_when_full(f"while {title} was prepared", room):
            lesson = begin_style(room, style, dataset)
        teach_style(room, lesson, stop)
        for extra in extra_rounds(room, lesson):
            teach_style(room, extra, stop)
        with told_when_full(f"after the last step of {title}, which is saved", room):
            results.append(finish_style(room, lesson))
        room.accelerator.wait_for_everyone()
        if room.accelerator.scaler is not None:
            room.accelerator.free_memory()  # else it would unscale the next style's gradients twice
    if results and room.accelerator.is_main_process:
        last = results[-1]
        results[-1] = replace(last, exports=publish_result(run, room.museum, last.museum, last.grid))


def open_classroom(run: RunConfig, held: ExitStack) -> tuple[Classroom, list[tuple[StyleData, StyleDataset]]]:
    """Read pictures, base and museum, which is locked and attached until `held` is closed; and what is to be taught.

    Raises:
        MuseumError: a picture, the base or the museum cannot be used, or another run teaches this museum.
    """
    accelerator = make_accelerator(run)
    held.callback(accelerator.end_training)
    if run.output.museum is not None and accelerator.is_main_process:
        held.enter_context(museum_lock(run.output.museum))
    file = MuseumFile(museum_file(run.output))
    datasets = [StyleDataset(style, prior_loss_weight=run.loss.prior_loss_weight) for style in run.styles]
    for dataset in datasets:
        dataset.verify()
    run = with_blocks_counted(run, datasets, accelerator.device)
    museum = museum_on_base(run, accelerator.device, held)
    museum.metadata.update(chosen_metadata(run.metadata))
    lessons = styles_to_teach(museum, run, datasets)
    check_resume(run.output, museum.styles(), [style.name or "" for style, _ in lessons])
    warn_of_little_room(run, museum, lessons)
    held.enter_context(museum.attached())
    return Classroom(run, accelerator, museum, Denoiser(museum.base), latent_cache(run, museum), file), lessons


def teach_style(room: Classroom, lesson: Lesson, stop: StopRequest) -> None:
    """The steps of one style, from wherever a checkpoint left off.

    Raises:
        NotFiniteError: a loss or gradient is not finite; nothing of that step is kept.
        Interrupted: asked to stop; the state after the last whole step is saved.
        NoRoomError: memory ran out; so it is then.
    """
    museum, accelerator, steps = room.museum, room.accelerator, lesson.calendar.steps
    optimizer, schedule, skips = lesson.training.optimizer, lesson.training.schedule, lesson.training.skips
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    watch = begin_watch(room, lesson)
    start = restore(lesson.training, lesson.name, lesson.unfinished) or lesson.begun
    visible = accelerator.is_local_main_process
    smooth = lesson.training.smooth
    title = f"{lesson.title}: extra" if lesson.begun else lesson.title
    progress = Progress(title, start, steps, museum.base.device, visible=visible, smooth=smooth)
    found: dict[str, Tensor] = {}
    saved = saved_when_full(room, lesson, start)
    with saved as whole, closing(progress), closing(reader_for(room, lesson)) as reader:
        if start == 0:
            _preview(room, lesson, 0, stop)
        for step in range(start, steps):
            if judge_if_due(room, lesson, watch, step, progress):
                _save(room, lesson, step, stop, last=True)
                break
            try:
                for micro in range(lesson.order.micro_steps(step)):
                    found = micro_step(room, lesson, reader, step, micro)
                average_gradients(accelerator, parameters)
                _check_gradients(room, lesson, reader, step, parameters)
            except NotFiniteError as refused:
                skips.take(refused)
                advance_without_step(schedule)
            else:
                skips.in_a_row, whole.done = 0, None
                found |= _move(room, lesson, parameters)
            optimizer.zero_grad()
            lesson.training.course.steps += 1
            whole.done = step + 1
            progress.update(found, show=step % _SHOWN_EVERY == 0)
            _report(room, lesson, step, progress)
            _preview(room, lesson, step + 1, stop)
            _validate(room, lesson, step + 1, progress)
            _save(room, lesson, step + 1, stop, last=step + 1 == steps)
    take_average(optimizer)


def micro_step(room: Classroom, lesson: Lesson, reader: BatchReader, step: int, micro: int) -> dict[str, Tensor]:
    """One micro-step: the student's pass and all terms, or one kind of terms after another, each with its gradients.

    Returns:
        the weighted terms by name; their sum is what is minimised.
    Raises:
        NotFiniteError: one of them is not finite.
    """
    run, accelerator = room.run, room.accelerator
    part = micro * accelerator.num_processes + accelerator.process_index
    terms, micro_steps = lesson.training.terms, lesson.order.micro_steps(step)
    rng = rng_for(run.training.seed, lesson.name, step, part)
    shown = reader.batch(step, micro)
    batch = style_batch(room, lesson, shown)
    with room.museum.network.dropping(number_for(run.training.seed, lesson.name, step, part)):
        replay = replay_inputs(room, lesson, rng, len(shown.pictures), lesson.order.index(step, micro))
        apart = run.replay.apart or not fits_beside(batch, replay)
        with accelerator.autocast():
            done = student_pass(room.museum, room.denoiser, batch, rng, lesson.options, None if apart else replay)
            kinds = (Reads.PICTURES,) if apart else tuple(Reads)
            found = loss_terms(room.museum, done, terms, run.loss, room.denoiser.prediction_type, *kinds)
        add_gradients(found, micro_steps, accelerator.backward)
        if apart:
            with accelerator.autocast():
                held = penalties(room.museum, replace(done.step, memory_is_short=True), terms, Reads.LORA)
            add_gradients(held, micro_steps, accelerator.backward)
            found |= held
        if apart and replay is not None:
            with accelerator.autocast():
                seen = replay_pass(room.denoiser, done.step, replay, lesson.options.watched)
                locked = penalties(room.museum, seen, terms, Reads.BANK)
            add_gradients(locked, micro_steps, accelerator.backward)
            found |= locked
    bad = not_finite(found)
    if any_process(accelerator, bool(bad)):
        raise not_finite_error(bad, lesson.title, step, [str(picture.path) for picture in shown.pictures])
    return found


def _move(room: Classroom, lesson: Lesson, parameters: list[Parameter]) -> dict[str, Tensor]:
    """One step of the optimizer and its schedule. Returns what else is shown of it."""
    run, training = room.run, lesson.training
    if not has_gradients(parameters):  # dropout left out every layer, and the scaler of fp16 refuses such a step
        advance_without_step(training.schedule)
        return {}
    for term, _ in training.terms.values():
        term.after_backward(room.museum)
    if run.optimizer.max_grad_norm:
        room.accelerator.clip_grad_norm_(parameters, run.optimizer.max_grad_norm)
    training.optimizer.step()
    training.schedule.step()
    limit = run.network.scale_weight_norms
    shown = {} if limit is None else limit_norms(room.museum.network, limit)
    for term, _ in training.terms.values():
        term.after_step(room.museum)
    return shown


def _check_gradients(
    room: Classroom, lesson: Lesson, reader: BatchReader, step: int, parameters: list[Parameter]
) -> None:
    """Refuse a step whose gradients are not finite although its loss is; the scaler of fp16 does so itself.

    Raises:
        NotFiniteError: names modules and pictures.
    """
    if room.accelerator.scaler is not None or gradients_are_finite(parameters):
        return
    batches = [reader.drawn(step, micro) for micro in range(lesson.order.micro_steps(step))]
    pictures = [str(picture.path) for batch in batches for picture in batch.pictures]
    bad = not_finite_gradients(room.museum, lesson.name)
    raise not_finite_error(bad, lesson.title, step, pictures, what="gradient")


def _report(room: Classroom, lesson: Lesson, step: int, progress: Progress) -> None:
    if room.run.output.log_with and step % _SHOWN_EVERY == 0:
        losses = {f"{lesson.title}/{name}": value for name, value in progress.means().items()}
        rate = float(lesson.training.schedule.get_last_lr()[0])
        log_numbers(room.accelerator, {**losses, f"{lesson.title}/learning_rate": rate}, step)


def _preview(room: Classroom, lesson: Lesson, done: int, stop: StopRequest) -> None:
    number = preview_due(room.run.preview, lesson.calendar, done)
    if number is not None and room.accelerator.is_main_process:
        with averaged(lesson.training.optimizer):
            write_previews(room, lesson, number, done, lambda: stop.asked)


def _validate(room: Classroom, lesson: Lesson, done: int, progress: Progress) -> None:
    """The loss of the held-out pictures where it is due; without such pictures nothing happens."""
    training, dataset = room.run.training, lesson.dataset
    if not (dataset.validation and room.accelerator.is_main_process):
        return
    if not validation_is_due(training, lesson.calendar, done):
        return
    batches = dataset.validation[: training.max_validation_steps]
    shown = (style_batch(room, lesson, batch, keep=True) for batch in batches)
    with averaged(lesson.training.optimizer), room.accelerator.autocast():
        loss = validation_loss(room.museum, room.denoiser, shown, lesson.options.text)
    progress.note("validation", loss)
    log.info("%s: validation loss %.4f after step %d", lesson.title, loss, done)
    if room.run.output.log_with:
        log_numbers(room.accelerator, {f"{lesson.title}/validation": loss}, done - 1)


def _save(room: Classroom, lesson: Lesson, done: int, stop: StopRequest, *, last: bool) -> None:
    """Keep what is due, and the whole state when asked to stop.

    Raises:
        Interrupted: asked to stop; everything is saved.
    """
    asked = any_process(room.accelerator, stop.asked)
    if room.accelerator.is_main_process:
        save_progress(room, lesson, done, asked=asked, last=last)
    if asked and (not last or lesson.rounds_left):
        raise Interrupted(
            f"stopped after step {done} of {lesson.calendar.steps} of {lesson.title}; everything is saved in "
            f"{checkpoint_path(room)}. {_GO_ON}",
            stop.number,
        )
