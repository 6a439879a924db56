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
from museum_plugin.base.schedule import with_zero_terminal_snr
from museum_plugin.config.schema import LossConfig, NetworkConfig, RunConfig, StyleData
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.errors import ConfigError, OutputError
from museum_plugin.methods import build_terms
from museum_plugin.museum.dropout import Dropout
from museum_plugin.museum.lora import target_modules
from museum_plugin.museum.lora_file import commonest, file_shapes, merge_into_base, read_lora, start_from
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape, layer_shapes
from museum_plugin.museum.store import check_network, new_museum, open_museum
from museum_plugin.museum.triggers import choose_words
from museum_plugin.train.checkpoint import read_state
from museum_plugin.train.optimizer import check_optimizer
from museum_plugin.train.resume import museum_of_state
from museum_plugin.train.schedule import check_schedule

log = logging.getLogger("museum")


def check_run(run: RunConfig) -> None:
    """Refuse what no base model is needed to see.

    Raises:
        ConfigError: method, optimizer, schedule, precision or log are not possible here.
        OutputError: a result could not be written.
    """
    subsets = [subset for style in run.styles for dataset in style.datasets for subset in dataset.subsets]
    if run.loss.masked_loss and not any(subset.conditioning_data_dir or subset.alpha_mask for subset in subsets):
        log.warning("masked_loss: nothing is masked, since no subset has conditioning_data_dir or alpha_mask")
    build_terms(run.method.name, run.method.weights)
    check_optimizer(run.optimizer, run.network)
    check_schedule(run.optimizer)
    for path in run.network.base_weights:
        read_lora(path, "base_weights")
    if run.network.weights is not None and (run.output.museum is None or not run.output.museum.exists()):
        read_lora(run.network.weights, "network_weights")
    if run.base.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("mixed_precision: found 'fp16', which needs a GPU; allowed here: no, bf16")
    if run.output.log_with == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ConfigError("log_with: found 'wandb', which is not installed; pip install wandb, or use tensorboard")
    for option, needed in run.loss.idle:
        log.warning("%s changes nothing without %s", option, needed)
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


def with_noise_schedule(base: BaseModel, loss: LossConfig) -> BaseModel:
    """The base under the noise schedule of this run.

    Raises:
        ConfigError: an option of the loss is not possible with this base.
    """
    predicted = {"epsilon": loss.for_v_prediction, "v_prediction": loss.for_epsilon}
    for option in predicted.get(base.prediction_type, ()):
        other = "v" if base.prediction_type == "epsilon" else "epsilon"
        raise ConfigError(f"{option}: only for base models that predict {other}, and {base.name} does not; remove it")
    total = len(base.alphas_cumprod)
    for option, value in (("min_timestep", loss.min_timestep + 1), ("max_timestep", loss.max_timestep or 1)):
        if value > total:
            found = getattr(loss, option)
            raise ConfigError(f"{option}: found {found}, but {base.name} has {total} timesteps, 0 to {total - 1}")
    return with_zero_terminal_snr(base) if loss.zero_terminal_snr else base


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
        museum = _begun(run, base)
    else:
        origin = Path(str(path if found else run.output.resume))
        _warn_of_another_schedule(museum, run.loss)
        _check_network(museum, origin, network)
        if network.weights is not None:
            log.info("network_weights: not read, because %s goes on from its own numbers", origin)
    given = network.arguments
    museum.network.dropout = Dropout(network.dropout, given.rank_dropout, given.module_dropout)
    return museum


def with_base_weights(base: BaseModel, network: NetworkConfig) -> BaseModel:
    """The base with its `base_weights` merged in; without any, as it is.

    Raises:
        ConfigError: a file does not fit.
    """
    given = network.base_weights_multiplier
    multipliers = (*given, *(1.0,) * (len(network.base_weights) - len(given)))
    for path, multiplier in zip(network.base_weights, multipliers, strict=True):
        base = merge_into_base(base, path, multiplier)
    return base


def _begun(run: RunConfig, base: BaseModel) -> Museum:
    network, text = run.network, run.network.train_text_encoder
    usual, shapes, factors = LayerShape(network.rank, network.alpha), _asked_shapes(network, base), {}
    if network.weights is not None:
        factors = read_lora(network.weights, "network_weights")
    if network.weights is not None and network.dim_from_weights:
        shapes = file_shapes(factors, base, network.weights, with_text_encoder=text)
        usual = commonest(shapes.values())
    museum = new_museum(
        base, rank=usual.rank, alpha=usual.alpha, seed=run.training.seed, with_text_encoder=text, shapes=shapes
    )
    if network.weights is not None:
        start_from(museum.network, factors, network.weights)
    return museum


def _check_network(museum: Museum, path: Path, network: NetworkConfig) -> None:
    text, recorded = network.train_text_encoder, museum.ledger.network
    if network.dim_from_weights:  # as long as the museum is there, it says itself what its shape is
        check_network(museum, path, rank=recorded.rank, alpha=recorded.alpha, with_text_encoder=text)
        return
    shapes = _asked_shapes(network, museum.base)
    check_network(museum, path, rank=network.rank, alpha=network.alpha, with_text_encoder=text, shapes=shapes)


def _asked_shapes(network: NetworkConfig, base: BaseModel) -> dict[str, LayerShape]:
    convolutions, text = network.arguments.with_convolutions, network.train_text_encoder
    return layer_shapes(dict(target_modules(base, with_text_encoder=text, with_convolutions=convolutions)), network)


def _warn_of_another_schedule(museum: Museum, loss: LossConfig) -> None:
    taught = {bool(record.settings.get("zero_terminal_snr")) for record in museum.ledger.styles}
    if taught - {loss.zero_terminal_snr}:
        log.warning(
            "zero_terminal_snr: found %s, but this museum knows styles taught with %s; their scores were measured on "
            "another noise schedule",
            *(str(value).lower() for value in (loss.zero_terminal_snr, not loss.zero_terminal_snr)),
        )


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
