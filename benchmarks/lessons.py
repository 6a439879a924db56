"""What the benchmarks teach: the demo's settings, and a lesson outside of a whole run where only steps are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import load_base
from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import RunConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.museum.store import new_museum
from museum_plugin.museum.triggers import slot_words
from museum_plugin.pocket.styles import STYLES
from museum_plugin.train.setup import Classroom, Lesson, begin_style, latent_cache

JOINT = "joint"
"""All styles at once, which no user can do who gets them one by one: the upper reference."""
TRIGGERS = dict(zip(STYLES, slot_words(), strict=False))
"""A style's word, the same in every run: how well a style is learned depends on it."""


def run_config(method: str, seed: int, folder: Path, style: str, more: Sequence[str]) -> RunConfig:
    """The configuration that a user's command line would give."""
    return parse_command_line(
        [
            "--config_file=presets/demo.toml",
            f"--dataset_config=examples/styles/{style}.toml",
            f"--museum={folder / 'museum.safetensors'}",
            f"--output_dir={folder}",
            f"--trigger={TRIGGERS[style]}",
            f"--method={'finetune' if method == JOINT else method}",
            f"--seed={seed}",
            "--gate=off",
            *more,
        ]
    )


@contextmanager
def first_lesson(run: RunConfig) -> Iterator[tuple[Classroom, Lesson]]:
    """While inside, a new museum is attached and the first style of a run is about to be taught."""
    base, network = load_base(run.base.path), run.network
    museum = new_museum(base, rank=network.rank, alpha=network.alpha, seed=run.training.seed, with_text_encoder=False)
    room = Classroom(run, Accelerator(), museum, Denoiser(base), latent_cache(run, museum))
    with museum.attached():
        yield room, begin_style(room, run.styles[0], StyleDataset(run.styles[0]))
