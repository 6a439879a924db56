"""Pictures drawn while a style is being learned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from museum_plugin.base.encode import decode_latents
from museum_plugin.config.files import write_atomically
from museum_plugin.judge.grid import to_pictures
from museum_plugin.judge.lettering import png
from museum_plugin.judge.retention import Exhibition, draw
from museum_plugin.train.between import run_stem
from museum_plugin.train.setup import Classroom, Lesson, sampling_plan

_PREVIEWED = 4


def write_previews(room: Classroom, lesson: Lesson, number: str, asked_to_stop: Callable[[], bool]) -> None:
    """Draw the sample prompts (else the first captions) with the style's trigger into `output_dir/sample`.

    Args:
        number: of the epoch or step, as it stands in the file names.
        asked_to_stop: looked at before each picture; what is still to be drawn is left out.
    Raises:
        OutputError: a picture cannot be written.
    """
    run, folder, stem = room.run, room.run.output.output_dir / "sample", run_stem(room, lesson)
    plan, time = sampling_plan(run, lesson.dataset, room), datetime.now().strftime("%Y%m%d%H%M%S")
    for i, prompt in enumerate(run.preview.prompts or lesson.captions[:_PREVIEWED]):
        if asked_to_stop():
            return
        seed = run.training.seed + i
        latents = draw(room.museum, Exhibition((prompt,), (seed,), plan), lesson.name or None)
        (image,) = to_pictures(decode_latents(room.museum.base, latents))
        write_atomically(folder / f"{stem}_{number}_{i:02d}_{time}_{seed}.png", png(image))
