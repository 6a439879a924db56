"""Before the first step: whatever can be known to fail fails now, not after an hour of training."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from museum_plugin.base.load import BaseModel
from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError, OutputError
from museum_plugin.methods import build_terms
from museum_plugin.museum.ledger import Ledger, StyleRecord
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import check_network, new_museum, open_museum
from museum_plugin.museum.triggers import Reader, choose_words
from museum_plugin.train.optimizer import check_optimizer

log = logging.getLogger("museum")


@dataclass(frozen=True)
class PlannedStyle:
    """A style of the run, and what it will be to the museum."""

    style: StyleData
    dataset: StyleDataset
    words: tuple[str, ...] = ()
    """Its slot words; none for a plain LoRA, or where they cannot be given."""
    is_taught: bool = False
    """The museum has it already, from the same pictures: it is skipped."""


def check_run(run: RunConfig, problems: Problems | None = None) -> None:
    """Refuse what no base model is needed to see.

    Args:
        problems: where errors go; None raises the first one. Where they are gathered nothing is written.
    Raises:
        ConfigError: method, optimizer, schedule, precision or log are not possible here.
        OutputError: a result could not be written.
    """
    problems = problems or Problems()
    with problems:
        build_terms(run.method.name, run.method.weights)
    with problems:
        check_optimizer(run.optimizer, learning_rates(run), run.training.steps)
    with problems:
        if run.base.mixed_precision == "fp16" and not torch.cuda.is_available():
            raise ConfigError("mixed_precision: found 'fp16', which needs a GPU; allowed here: no, bf16")
    with problems:
        if run.output.log_with == "wandb" and importlib.util.find_spec("wandb") is None:
            raise ConfigError("log_with: found 'wandb', which is not installed; pip install wandb, or use tensorboard")
    places = [run.output.output_dir / f"{run.output.output_name}.safetensors"]
    if run.output.museum is not None:
        places.append(run.output.museum)
    if run.output.logging_dir is not None and run.output.log_with is not None:
        places.append(run.output.logging_dir / run.output.output_name / "events")
    for place in places:
        with problems:
            _check_writable(place, make_folder=not problems.gather)


def learning_rates(run: RunConfig) -> tuple[float, ...]:
    """Of each group of parameters that the run has: U-Net, text encoder, slot."""
    parts = (
        (run.optimizer.unet_learning_rate, run.network.train_unet),
        (run.optimizer.text_encoder_learning_rate, run.network.train_text_encoder),
        (run.slot.learning_rate, run.output.museum is not None),
    )
    return tuple(rate for rate, trained in parts if trained)


def _check_writable(path: Path, *, make_folder: bool) -> None:
    """Make a file there; without `make_folder` in the nearest folder that exists."""
    real = Path(os.path.realpath(path))
    folder = real.parent
    try:
        if make_folder:
            folder.mkdir(parents=True, exist_ok=True)
        while not os.path.lexists(folder):
            folder = folder.parent
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{real.name}.", suffix=".tmp"):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; check the path and its permissions"
        ) from error
    if real.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder; give the path of a file")


def make_accelerator(run: RunConfig) -> Accelerator:
    """What spreads the run over devices and processes, and writes its logs."""
    output = run.output
    launched = int(os.environ.get("LOCAL_RANK", -1)) >= 0
    accelerator = Accelerator(
        mixed_precision=run.base.mixed_precision,
        cpu=launched and not torch.accelerator.is_available(),  # else each of several CPU processes goes its own way
        log_with=output.log_with,
        project_dir=output.logging_dir,
    )
    if output.log_with:
        accelerator.init_trackers(output.output_name)
    return accelerator


def open_or_begin(run: RunConfig, base: BaseModel) -> Museum:
    """The museum that grows: the file's, or a new one.

    Raises:
        ConfigError: the base has fewer text layers than clip_skip asks for.
        MuseumFileError: the file cannot be read, or belongs to another base or shape.
    """
    check_clip_skip(run, base.name, min(encoder.config.num_hidden_layers for encoder in base.text_encoders))
    network, path = run.network, run.output.museum
    if path is None or not path.exists():
        return new_museum(
            base,
            rank=network.rank,
            alpha=network.alpha,
            seed=run.training.seed,
            with_text_encoder=network.train_text_encoder,
        )
    museum = open_museum(path, base)
    check_shape(run, museum.ledger, path)
    return museum


def check_clip_skip(run: RunConfig, base: str, layers: int) -> None:
    """Refuse a layer that the text encoder does not have.

    Raises:
        ConfigError: names both.
    """
    if run.base.clip_skip > layers:
        raise ConfigError(f"clip_skip: found {run.base.clip_skip}, but the text encoder of {base} has {layers}")


def check_shape(run: RunConfig, ledger: Ledger, path: Path) -> None:
    """Refuse to go on with a museum under another shape.

    Raises:
        MuseumFileError: rank, alpha or targets differ.
    """
    network = run.network
    check_network(ledger, path, rank=network.rank, alpha=network.alpha, with_text_encoder=network.train_text_encoder)


def styles_to_teach(
    museum: Museum, run: RunConfig, datasets: list[StyleDataset]
) -> list[tuple[StyleData, StyleDataset]]:
    """The styles of the run that the museum does not know yet, in order.

    Raises:
        ConfigError: the museum knows another style of this name, or a trigger is not possible.
    """
    pairs = list(zip(run.styles, datasets, strict=True))
    plans = plan_styles(museum.ledger.styles, museum.base, pairs, run.slot.vectors, Problems())
    for plan in plans:
        if plan.is_taught:
            log.info("%s is in the museum already: skipped", plan.style.name)
    return [(plan.style, plan.dataset) for plan in plans if not plan.is_taught]


def plan_styles(
    known: Sequence[StyleRecord],
    base: Reader | None,
    styles: Sequence[tuple[StyleData, StyleDataset]],
    vectors: int,
    problems: Problems,
) -> list[PlannedStyle]:
    """What the museum will do with each style.

    Args:
        known: the styles it has.
        base: what tells which words are one token; None: no words are given.
        styles: of the run, in order.
        vectors: of each slot.
        problems: where errors go.
    Raises:
        ConfigError: the museum knows another style of this name, or a trigger is not possible.
    """
    plans = []
    taken = [word for record in known for word in record.words]
    for style, dataset in styles:
        is_taught, words = False, tuple[str, ...]()
        with problems:
            is_taught = _is_taught(known, style, dataset)
        with problems:
            if style.name is not None and base is not None and not is_taught:
                words = choose_words(base, style.trigger or "auto", vectors, taken)
        taken += words
        plans.append(PlannedStyle(style, dataset, words, is_taught))
    return plans


def _is_taught(known: Sequence[StyleRecord], style: StyleData, dataset: StyleDataset) -> bool:
    for record in known:
        if record.name == style.name:
            if record.data_fingerprint == dataset.fingerprint:
                return True
            raise ConfigError(
                f"style {style.name!r} is in this museum already, taught from other pictures, captions or dataset "
                "settings; give this one another name with --style, or go back with `python -m museum_plugin rollback`"
            )
    return False
