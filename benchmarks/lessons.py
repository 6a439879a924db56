"""A lesson outside of a whole run: what `train` does before the first step, for benchmarks that need only the steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import load_base
from museum_plugin.config.schema import RunConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.museum.store import new_museum
from museum_plugin.train.setup import Classroom, Lesson, begin_style, latent_cache


@contextmanager
def first_lesson(run: RunConfig) -> Iterator[tuple[Classroom, Lesson]]:
    """While inside, a new museum is attached and the first style of a run is about to be taught."""
    base, network = load_base(run.base.path), run.network
    museum = new_museum(base, rank=network.rank, alpha=network.alpha, seed=run.training.seed, with_text_encoder=False)
    room = Classroom(run, Accelerator(), museum, Denoiser(base), latent_cache(run, museum))
    with museum.attached():
        yield room, begin_style(room, run.styles[0], StyleDataset(run.styles[0]))
