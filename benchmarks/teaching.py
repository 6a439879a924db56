"""Teach styles by a method, examine what there is after each, and gather the figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.apart import APART, MERGED, SEPARATE, in_one_file, taught_apart
from benchmarks.joint import teach_jointly
from benchmarks.lessons import JOINT, run_config
from benchmarks.never_ending import timed_steps
from benchmarks.pocket_pictures import Shown, show
from benchmarks.result import Result, read_result, run_name, write_result
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.judge.grid import write_grid
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import open_museum
from museum_plugin.pocket.classifier import STYLE_NAMES, Classifier
from museum_plugin.pocket.scenes import held_out_scenes
from museum_plugin.pocket.styles import FLAT
from museum_plugin.train import loop
from museum_plugin.train.paths import matrix_file

DRAWN_SEED = 50_000
"""Of the first picture of each score; the next one is one more."""


@dataclass(frozen=True)
class Setting:
    """What is the same for all methods and seeds."""

    styles: tuple[str, ...]
    """In the order of learning."""
    order: str
    out: Path
    flags: tuple[str, ...]
    """More flags of train_museum.py."""
    pictures: int
    """How many are drawn for each score."""


@dataclass(frozen=True)
class Taught:
    """What a method has made of the styles so far."""

    styles: tuple[str, ...]
    museums: dict[str, Museum]
    """Style -> what draws it; the same for all styles unless each has a file of its own."""
    files: tuple[Path, ...]
    verdict: dict[str, Any] | None = None
    """What the run's own judge wrote."""
    step_seconds: float | None = None


def teach_and_measure(method: str, seed: int, setting: Setting, classifier: Classifier) -> Result:
    """Teach the styles in order and examine what there is after each; go on behind what an earlier run has examined."""
    folder = setting.out / run_name(method, seed, setting.order)
    folder.mkdir(parents=True, exist_ok=True)
    scenes = held_out_scenes()[: setting.pictures]
    base = load_base(run_config(method, seed, folder, setting.styles[0], setting.flags).base.path)
    partial = folder / f"{run_name(method, seed, setting.order)}.json"
    if partial.exists():
        result = read_result(partial)
    else:
        with torch.no_grad():
            bare = show(base, classifier, scenes, "", seed=DRAWN_SEED)
        result = Result(method, seed, list(setting.styles), base_flat=bare.style_rate(FLAT), order=setting.order)
        result.base_objects = bare.object_rate()
    for taught in lessons(result, setting, folder, base):
        shown, plain = examine(taught, classifier, setting.pictures)
        add(result, taught, shown, plain)
        write_result(result, folder)
        print(f"{result.name} after {taught.styles[-1]}:", " ".join(f"{score:.2f}" for score in result.matrix[-1]),
              f"| flat {result.no_trigger[-1]:.2f}", flush=True)  # fmt: skip
        columns = {"no trigger": plain[0].images[:6], **{name: pictures.images[:6] for name, pictures in shown.items()}}
        grid = folder / f"{len(taught.styles):02d}-{taught.styles[-1]}.png"
        write_grid(grid, columns, [scene.caption() for scene in scenes[:6]])
    return result


def lessons(result: Result, setting: Setting, folder: Path, base: BaseModel) -> Iterator[Taught]:
    """What there is after each style that is not examined yet; of `joint`, which learns all together, at the end."""
    if result.method == JOINT:
        yield _together(result.seed, setting, folder)
    elif result.method in APART:
        yield from _apart(result, setting, folder, base)
    else:
        yield from _in_a_row(result, setting, folder, base)


def _in_a_row(result: Result, setting: Setting, folder: Path, base: BaseModel) -> Iterator[Taught]:
    file = folder / "museum.safetensors"
    for number, style in enumerate(setting.styles, start=1):
        if number <= len(result.matrix):
            continue
        run = run_config(result.method, result.seed, folder, style, setting.flags)
        seconds: list[float] = []
        with timed_steps(seconds):
            loop.train(run)  # nothing where an earlier run was broken off between teaching and examining
        verdict = json.loads(matrix_file(run.output, number, style).with_suffix(".json").read_text())
        styles = setting.styles[:number]
        museums = dict.fromkeys(styles, open_museum(file, base))
        yield Taught(styles, museums, (file,), verdict, seconds[0] if seconds else None)


def _together(seed: int, setting: Setting, folder: Path) -> Taught:
    museum = teach_jointly(run_config(JOINT, seed, folder, setting.styles[0], setting.flags), list(setting.styles))
    return Taught(setting.styles, dict.fromkeys(setting.styles, museum), ())


def _apart(result: Result, setting: Setting, folder: Path, base: BaseModel) -> Iterator[Taught]:
    files: list[Path] = []
    museums: dict[str, Museum] = {}
    for number, style in enumerate(setting.styles, start=1):
        files.append(taught_apart(result.seed, style, setting.out, setting.flags))
        museums[style] = open_museum(files[-1], base)
        styles = setting.styles[:number]
        if number <= len(result.matrix):
            continue
        if result.method == SEPARATE:
            yield Taught(styles, dict(museums), tuple(files))
            continue
        file = folder / "museum.safetensors"
        whole = in_one_file(list(museums.values()), base, file, merge=result.method == MERGED)
        yield Taught(styles, dict.fromkeys(styles, whole), (file,))


@torch.no_grad()
def examine(taught: Taught, classifier: Classifier, pictures: int) -> tuple[dict[str, Shown], list[Shown]]:
    """Pictures of every style, and those without trigger through each of the museums."""
    scenes = held_out_scenes()[:pictures]

    def draw(museum: Museum, style: str | None) -> Shown:
        with museum.attached():
            return show(museum.base, classifier, scenes, museum.phrase(style), seed=DRAWN_SEED)

    shown = {style: draw(taught.museums[style], style) for style in taught.styles}
    return shown, [draw(museum, None) for museum in {id(m): m for m in taught.museums.values()}.values()]


def add(result: Result, taught: Taught, shown: dict[str, Shown], plain: list[Shown]) -> None:
    """Put what was found after a style to what was found before."""
    result.matrix.append([shown[style].style_score(style) for style in taught.styles])
    result.no_trigger.append(mean(pictures.style_rate(FLAT) for pictures in plain))
    result.objects = [shown[style].object_rate() for style in taught.styles]
    result.confusion.append(mean(confused(shown[style], style, taught.styles) for style in taught.styles))
    if taught.files:
        result.file_bytes.append(sum(file.stat().st_size for file in taught.files))
    if taught.step_seconds is not None:
        result.step_seconds.append(taught.step_seconds)
    if taught.verdict is not None:
        result.judged.append(taught.verdict["matrix"][-1])
        result.judged_drift.append(taught.verdict["drift"])


def confused(shown: Shown, style: str, taught: tuple[str, ...]) -> float:
    """Share of a style's pictures that are judged as another one of the taught styles."""
    others = torch.tensor([STYLE_NAMES.index(name) for name in taught if name != style])
    return torch.isin(shown.reading.style.argmax(dim=1), others).float().mean().item()
