"""Pictures drawn while a style is being learned."""

from __future__ import annotations

from museum_plugin.base.encode import decode_latents
from museum_plugin.config.files import write_atomically
from museum_plugin.judge.grid import to_pictures
from museum_plugin.judge.lettering import png
from museum_plugin.judge.retention import Exhibition, draw
from museum_plugin.train.paths import preview_file
from museum_plugin.train.setup import Classroom, Lesson, sampling_plan

_PREVIEWED = 4


def write_previews(room: Classroom, lesson: Lesson, step: int) -> None:
    """Draw the sample prompts (else the first captions) with the style's trigger into `output_dir/sample`.

    Raises:
        OutputError: a picture cannot be written.
    """
    if not room.accelerator.is_main_process:
        return
    run = room.run
    prompts = run.preview.prompts or lesson.captions[:_PREVIEWED]
    seeds = tuple(run.training.seed + i for i in range(len(prompts)))
    exhibition = Exhibition(prompts, seeds, sampling_plan(run, lesson.dataset, room))
    images = decode_latents(room.museum.base, draw(room.museum, exhibition, lesson.name or None))
    for i, (image, seed) in enumerate(zip(to_pictures(images), seeds, strict=True)):
        write_atomically(preview_file(run.output, lesson.title, step, i, seed), png(image))
