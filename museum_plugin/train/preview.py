"""Pictures drawn while a style is being learned."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import torch

from museum_plugin.base.encode import decode_latents
from museum_plugin.base.sampler import SamplingPlan, sample_with
from museum_plugin.config.files import write_atomically
from museum_plugin.config.schema import PromptOptions
from museum_plugin.judge.grid import to_pictures
from museum_plugin.judge.lettering import png
from museum_plugin.judge.retention import prompt_for
from museum_plugin.train.logs import log_picture
from museum_plugin.train.paths import run_stem
from museum_plugin.train.setup import Classroom, Lesson, sampling_plan

log = logging.getLogger("museum")
_PREVIEWED = 4


def write_previews(room: Classroom, lesson: Lesson, number: str, done: int, asked_to_stop: Callable[[], bool]) -> None:
    """Draw sample prompts (else the first captions) with the style's trigger into `output_dir/sample`, and at wandb.

    Args:
        number: of the epoch or step, as it stands in the file names.
        done: optimizer steps so far.
        asked_to_stop: looked at before each picture; what is still to be drawn is left out.
    Raises:
        OutputError: a picture cannot be written.
    """
    run, folder, stem = room.run, room.run.output.output_dir / "sample", run_stem(room.run, lesson.name)
    prompts = run.preview.prompts or lesson.captions[:_PREVIEWED]
    options = run.preview.options or (PromptOptions(),) * len(prompts)
    time, phrase = datetime.now().strftime("%Y%m%d%H%M%S"), lesson.phrase
    for i, (prompt, own) in enumerate(zip(prompts, options, strict=True)):
        if asked_to_stop():
            return
        seed = run.training.seed + i if own.seed is None else own.seed
        plan, sampler = _plan(room, lesson, own), own.sampler or run.preview.sampler
        latents = sample_with(sampler, room.museum.base, [prompt_for(prompt, phrase)], [seed], plan, [own.negative])
        if not bool(torch.isfinite(latents).all()):
            log.warning("preview %d of %s is not finite: not written; bf16 or another sampler may cure it", i, stem)
            continue
        (image,) = to_pictures(decode_latents(room.museum.base, latents.cpu()))
        write_atomically(folder / f"{stem}_{number}_{i:02d}_{time}_{seed}.png", png(image))
        log_picture(room.accelerator, f"{lesson.title}/sample_{i}", image, prompt, done)


def _plan(room: Classroom, lesson: Lesson, own: PromptOptions) -> SamplingPlan:
    preview = room.run.preview
    wanted = replace(
        preview,
        width=own.width or preview.width,
        height=own.height or preview.height,
        sampling_steps=own.steps or preview.sampling_steps,
        guidance=preview.guidance if own.guidance is None else own.guidance,
    )
    return sampling_plan(replace(room.run, preview=wanted), lesson.dataset, room)
