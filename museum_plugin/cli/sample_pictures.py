"""The drawing of `sample`: load base and museum, draw one picture at a time, write the files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from museum_plugin.base.encode import decode_latents
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.cli.museum_base import base_to_draw_with
from museum_plugin.cli.sample import Column, Order, slugs
from museum_plugin.config.files import write_atomically
from museum_plugin.errors import ConfigError
from museum_plugin.judge.grid import to_pictures, write_grid
from museum_plugin.judge.lettering import png
from museum_plugin.judge.retention import Exhibition, draw
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum

_BAR_AFTER = 2.0
"""Seconds; what is faster needs no progress bar."""


def write_pictures_of(order: Order, ledger: Ledger, chosen_base: Path | None) -> None:
    """One file for each style, prompt and seed."""
    style_names = slugs(column.title for column in order.columns)
    prompt_names = slugs(order.prompts)
    for column, prompt, seed, picture in drawn(order, ledger, chosen_base):
        name = f"{order.museum.stem}_{style_names[column.title]}_{prompt_names[prompt]}_{seed}.png"
        write_atomically(order.out / name, png(picture))
        tqdm.write(str(order.out / name))


def write_grid_of(order: Order, ledger: Ledger, chosen_base: Path | None) -> None:
    """One sheet with a row for each prompt and seed, a column for each who draws."""
    sheet: dict[str, list[Image.Image]] = {column.title: [] for column in order.columns}
    for column, _, _, picture in drawn(order, ledger, chosen_base):
        sheet[column.title].append(picture)
    several = len(order.seeds) > 1
    rows = [f"{prompt} (seed {seed})" if several else prompt for prompt in order.prompts for seed in order.seeds]
    first = slugs(order.prompts)[order.prompts[0]]
    path = order.out / f"{order.museum.stem}_grid_{first}_{order.seeds[0]}.png"
    write_grid(path, sheet, rows)
    print(path)


def drawn(order: Order, ledger: Ledger, chosen_base: Path | None) -> Iterator[tuple[Column, str, int, Image.Image]]:
    """Column, prompt, seed and picture, one after another: a picture does not depend on what else is drawn.

    Raises:
        MuseumError: base or museum cannot be used, or what is drawn is not finite.
    """
    base = base_to_draw_with(order.museum, ledger, chosen_base)
    plan = plan_on(base, order)
    museum = open_museum(order.museum, base)
    jobs = [(column, prompt, seed) for column in order.columns for prompt in order.prompts for seed in order.seeds]
    with (
        museum.attached(),
        tqdm(jobs, desc="drawing", unit="picture", leave=False, delay=_BAR_AFTER, disable=None) as bar,
    ):
        for column, prompt, seed in bar:
            yield column, prompt, seed, _picture(museum, column, Exhibition((prompt,), (seed,), plan))


def plan_on(base: BaseModel, order: Order) -> SamplingPlan:
    """The plan of an order; a size that nobody says is the one the base was trained in.

    Raises:
        ConfigError: a size that is no multiple of a latent's position.
    """
    factor, own = base.latent_factor, base.unet.config.sample_size * base.latent_factor
    plan = SamplingPlan.from_dict({"width": own, "height": own, **order.plan})
    for name, side in (("width", plan.width), ("height", plan.height)):
        if side % factor:
            raise ConfigError(f"--{name}: found {side}, allowed: a multiple of {factor} pixels")
    return plan


def _picture(museum: Museum, column: Column, exhibition: Exhibition) -> Image.Image:
    with museum.disabled() if column.bare else nullcontext():
        latents = draw(museum, exhibition, column.style)
    return to_pictures(decode_latents(museum.base, latents))[0]
