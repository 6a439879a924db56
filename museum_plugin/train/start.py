"""Before the first step: whatever can be known to fail fails now, not after an hour of training."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import tempfile
from datetime import datetime
from pathlib import Path

import torch
from accelerate import Accelerator

from museum_plugin.base.load import BaseModel
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError, OutputError
from museum_plugin.methods import build_terms
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import check_network, new_museum, open_museum
from museum_plugin.museum.triggers import choose_words
from museum_plugin.train.checkpoint import read_state
from museum_plugin.train.optimizer import check_schedule, optimizer_class
from museum_plugin.train.resume import museum_of_state

log = logging.getLogger("museum")


def check_run(run: RunConfig) -> None:
    """Refuse what no base model is needed to see.

    Raises:
        ConfigError: method, optimizer, schedule, precision or log are not possible here.
        OutputError: a result could not be written.
    """
    build_terms(run.method.name, run.method.weights)
    optimizer_class(run.optimizer.name)
    check_schedule(run.optimizer)
    if run.base.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("mixed_precision: found 'fp16', which needs a GPU; allowed here: no, bf16")
    if run.output.log_with == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ConfigError("log_with: found 'wandb', which is not installed; pip install wandb, or use tensorboard")
    if run.output.resume is not None:
        read_state(run.output.resume)
    _check_writable(run.output.output_dir / f"{run.output.output_name}.safetensors")
    if run.output.museum is not None:
        _check_writable(run.output.museum)
    if run.output.logging_dir is not None and run.output.log_with is not None:
        _check_writable(run.output.logging_dir / run.output.output_name / "events")


def _check_writable(path: Path) -> None:
    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", suffix=".tmp"):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; check the path and its permissions"
        ) from error
    if real.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder; give the path of a file")


def make_accelerator(run: RunConfig) -> Accelerator:
    """What spreads the run over devices and processes, and writes its logs."""
    output, told = run.output, run.log
    folder = output.logging_dir
    if folder is not None and told.prefix is not None:
        folder = folder / f"{told.prefix}{datetime.now().strftime('%Y%m%d%H%M%S')}"
    launched = int(os.environ.get("LOCAL_RANK", -1)) >= 0
    accelerator = Accelerator(
        mixed_precision=run.base.mixed_precision,
        cpu=launched and not torch.accelerator.is_available(),  # else each of several CPU processes goes its own way
        log_with=output.log_with,
        project_dir=folder,
    )
    if output.log_with:
        if told.wandb_api_key is not None and output.log_with in ("wandb", "all"):
            importlib.import_module("wandb").login(key=told.wandb_api_key)
        named = {"wandb": {"name": told.wandb_run_name}} if told.wandb_run_name else {}
        accelerator.init_trackers(told.tracker_name or output.output_name, init_kwargs=named)
    return accelerator


def open_or_begin(run: RunConfig, base: BaseModel) -> Museum:
    """The museum that grows: the file's, else that of the state of `--resume`, else a new one.

    Raises:
        ConfigError: the base has fewer text layers than clip_skip asks for; the state of --resume cannot be read.
        MuseumFileError: the file cannot be read, or belongs to another base or shape.
    """
    layers = min(encoder.config.num_hidden_layers for encoder in base.text_encoders)
    if run.base.clip_skip > layers:
        raise ConfigError(f"clip_skip: found {run.base.clip_skip}, but the text encoder of {base.name} has {layers}")
    network, path = run.network, run.output.museum
    found = path is not None and path.exists()
    museum = open_museum(path, base) if path is not None and found else museum_of_state(run.output, base)
    if museum is None:
        return new_museum(
            base,
            rank=network.rank,
            alpha=network.alpha,
            seed=run.training.seed,
            with_text_encoder=network.train_text_encoder,
        )
    origin = path if found else run.output.resume
    check_network(
        museum, Path(str(origin)), rank=network.rank, alpha=network.alpha, with_text_encoder=network.train_text_encoder
    )
    return museum


def styles_to_teach(
    museum: Museum, run: RunConfig, datasets: list[StyleDataset]
) -> list[tuple[StyleData, StyleDataset]]:
    """The styles of the run that the museum does not know yet, in order.

    Raises:
        ConfigError: the museum knows another style of this name, or a trigger is not possible.
    """
    missing = []
    taken = [word for record in museum.ledger.styles for word in record.words]
    for style, dataset in zip(run.styles, datasets, strict=True):
        if _is_taught(museum, style, dataset):
            log.info("%s is in the museum already: skipped", style.name)
            continue
        if style.name is not None:
            taken += choose_words(museum.base, style.trigger or "auto", run.slot.vectors, taken)
        missing.append((style, dataset))
    return missing


def _is_taught(museum: Museum, style: StyleData, dataset: StyleDataset) -> bool:
    for record in museum.ledger.styles:
        if record.name == style.name:
            if record.data_fingerprint == dataset.fingerprint:
                return True
            raise ConfigError(
                f"style {style.name!r} is in this museum already, taught from other pictures, captions or dataset "
                "settings; give this one another name with --style, or go back with `python -m museum_plugin rollback`"
            )
    return False
