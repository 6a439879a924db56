"""Before the first step: whatever can be known to fail fails now, not after an hour of training."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from accelerate import Accelerator

from museum_plugin.base.compiled import check_compiler
from museum_plugin.base.family import Family
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.memory import check_precision, placed
from museum_plugin.base.schedule import with_zero_terminal_snr
from museum_plugin.config.files import unwritable
from museum_plugin.config.problems import Problems
from museum_plugin.config.schema import LossConfig, NetworkConfig, RunConfig
from museum_plugin.errors import ConfigError, MuseumFileError, OutputError
from museum_plugin.methods import build_terms, grows
from museum_plugin.museum.dropout import Dropout
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.lora import Networks, target_modules
from museum_plugin.museum.lora_file import commonest, file_shapes, merge_all_into_base, start_from
from museum_plugin.museum.lora_reading import read_lora
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape, layer_shapes
from museum_plugin.museum.store import check_network, new_museum, open_museum
from museum_plugin.museum.training_strings import lasting_strings
from museum_plugin.train.checkpoint import read_state
from museum_plugin.train.header import chosen_metadata
from museum_plugin.train.logs import begin_logs, check_logs, log_kinds, logs_folder
from museum_plugin.train.optimizer import check_optimizer
from museum_plugin.train.resume import id_to_begin_with, museum_of_state
from museum_plugin.train.schedule import check_schedule, try_schedule

log = logging.getLogger("museum")
_MANY_STEPS = 10**9
_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PENULTIMATE = 2
"""The clip_skip that WebUIs give for the last layer but one."""


def check_run(run: RunConfig, problems: Problems | None = None) -> None:
    """Refuse what no base model is needed to see.

    Args:
        problems: where errors go; None raises the first one. Where they are gathered nothing is written.
    Raises:
        ConfigError: method, optimizer, schedule, precision or log are not possible here.
        OutputError: a result could not be written.
    """
    problems = problems or Problems()
    _warn_of_idle_options(run)
    with problems:
        build_terms(run.method.name, run.method.weights)
    with problems:
        check_optimizer(run.optimizer, run.network)
        check_schedule(run.optimizer)
        # epochs are steps only once the pictures are counted; a schedule that does not fit those is refused then
        steps = run.training.steps if run.training.epochs is None else _MANY_STEPS
        try_schedule(run.optimizer, learning_rates(run), steps)
    for path in run.network.base_weights:
        with problems:
            read_lora(path, "base_weights")
    with problems:
        if run.network.weights is not None and (run.output.museum is None or not run.output.museum.exists()):
            read_lora(run.network.weights, "network_weights")
    with problems:
        if run.output.resume is not None:
            read_state(run.output.resume)
    with problems:
        check_logs(run)
    with problems:
        chosen_metadata(run.metadata)
    with problems:
        check_precision(run.base)
        if run.base.torch_compile:
            check_compiler(run.base.dynamo_backend)
        if run.base.mixed_precision == "fp16" and not torch.cuda.is_available():
            raise ConfigError("mixed_precision: found 'fp16', which needs a GPU; allowed here: no, bf16")
    places = [run.output.output_dir / f"{run.output.output_name}.safetensors"]
    if run.output.museum is not None:
        places.append(run.output.museum)
    if run.output.logging_dir is not None and run.output.log_with is not None:
        places.append(run.output.logging_dir / run.output.output_name / "events")
    for place in places:
        with problems:
            check_writable(place, make_folder=not problems.gather)


def _warn_of_idle_options(run: RunConfig) -> None:
    subsets = [subset for style in run.styles for dataset in style.datasets for subset in dataset.subsets]
    if run.loss.masked_loss and not any(subset.conditioning_data_dir or subset.alpha_mask for subset in subsets):
        log.warning("masked_loss: nothing is masked, since no subset has conditioning_data_dir or alpha_mask")
    if run.log.with_settings and run.output.log_with is None:
        log.warning("log_config changes nothing without log_with")
    for option, needed in run.loss.idle:
        log.warning("%s changes nothing without %s", option, needed)


def learning_rates(run: RunConfig) -> tuple[float, ...]:
    """Of each part that the run trains: U-Net, text encoders, slot."""
    parts = (
        (run.optimizer.unet_learning_rate, run.network.train_unet),
        *((rate, run.network.train_text_encoder) for rate in run.optimizer.text_encoder_rates),
        (run.slot.learning_rate, run.output.museum is not None),
    )
    return tuple(rate for rate, trained in parts if trained)


def check_writable(path: Path, *, make_folder: bool) -> None:
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
        raise unwritable(path, error) from error
    if real.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder; give the path of a file")


def with_noise_schedule(base: BaseModel, loss: LossConfig) -> BaseModel:
    """The base under the noise schedule of this run.

    Raises:
        ConfigError: an option of the loss is not possible with this base.
    """
    check_noise_schedule(loss, base.name, base.prediction_type, len(base.alphas_cumprod))
    return with_zero_terminal_snr(base) if loss.zero_terminal_snr else base


def check_noise_schedule(loss: LossConfig, base: str, prediction_type: str, timesteps: int) -> None:
    """Refuse what cannot go with a base model that predicts this over so many timesteps.

    Raises:
        ConfigError: names the option.
    """
    predicted = {"epsilon": loss.for_v_prediction, "v_prediction": loss.for_epsilon}
    for option in predicted.get(prediction_type, ()):
        other = "v" if prediction_type == "epsilon" else "epsilon"
        raise ConfigError(f"{option}: only for base models that predict {other}, and {base} does not; remove it")
    for option, value in (("min_timestep", loss.min_timestep + 1), ("max_timestep", loss.max_timestep or 1)):
        if value > timesteps:
            found = getattr(loss, option)
            raise ConfigError(f"{option}: found {found}, but {base} has {timesteps} timesteps, 0 to {timesteps - 1}")


def make_accelerator(run: RunConfig) -> Accelerator:
    """What spreads the run over devices and processes, and writes its logs."""
    output = run.output
    launched = int(os.environ.get("LOCAL_RANK", -1)) >= 0
    accelerator = Accelerator(
        mixed_precision=run.base.mixed_precision,
        cpu=launched and not torch.accelerator.is_available(),  # else each of several CPU processes goes its own way
        log_with=log_kinds(output.log_with) or None,
        project_dir=logs_folder(run),
    )
    if output.log_with:
        begin_logs(accelerator, run)
    return accelerator


def museum_on_base(run: RunConfig, device: torch.device, held: ExitStack) -> Museum:
    """The museum that grows, on a base that is placed as the run asks until `held` is closed.

    Raises:
        MuseumError: base or museum cannot be used.
    """
    base = with_base_weights(with_noise_schedule(load_base(run.base.path, run.base), run.loss), run.network)
    return open_or_begin(run, held.enter_context(placed(base, run.base, device, _DTYPES[run.base.mixed_precision])))


def open_or_begin(run: RunConfig, base: BaseModel) -> Museum:
    """The museum that grows: the file's, else that of the state of `--resume`, else a new one.

    Raises:
        ConfigError: the base has fewer text layers than clip_skip asks for; the state of --resume cannot be read.
        MuseumFileError: the file cannot be read, or belongs to another base or shape.
    """
    check_clip_skip(
        run, base.family, base.name, min(encoder.config.num_hidden_layers for encoder in base.text_encoders)
    )
    network, path = run.network, run.output.museum
    found = path is not None and path.exists()
    museum = open_museum(path, base) if path is not None and found else museum_of_state(run.output, base)
    if museum is None:
        museum = _begun(run, base)
    else:
        origin = Path(str(path if found else run.output.resume))
        warn_of_another_schedule(museum.ledger, run.loss)
        museum.metadata = lasting_strings(museum.metadata)
        check_shape(run, museum.ledger, origin, None if network.dim_from_weights else asked_shapes(network, base))
        if network.weights is not None:
            log.info("network_weights: not read, because %s goes on from its own numbers", origin)
    if not network.train_text_encoder:  # an imported LoRA may have layers there, which then stay as they are
        museum.network.freeze(f"lora_{part}_" for part in base.family.text_parts)
    given = network.arguments
    museum.network.dropout = Dropout(network.dropout, given.rank_dropout, given.module_dropout)
    return museum


def with_base_weights(base: BaseModel, network: NetworkConfig) -> BaseModel:
    """The base with its `base_weights` merged in; without any, as it is.

    Raises:
        ConfigError: a file does not fit.
    """
    return merge_all_into_base(base, network.base_weights, network.base_weights_multiplier)


def _begun(run: RunConfig, base: BaseModel) -> Museum:
    network, text = run.network, run.network.train_text_encoder
    usual, shapes, factors = LayerShape(network.rank, network.alpha), asked_shapes(network, base), {}
    if network.weights is not None:
        factors = read_lora(network.weights, "network_weights", base.family.text_parts)
    if network.weights is not None and network.dim_from_weights:
        shapes = file_shapes(factors, base, network.weights, with_text_encoder=text)
        usual = commonest(shapes.values())
    museum = new_museum(
        base,
        rank=usual.rank,
        alpha=usual.alpha,
        seed=run.training.seed,
        with_text_encoder=text,
        shapes=shapes,
        museum_id=id_to_begin_with(run, base),
    )
    if network.weights is not None:
        start_from(museum.network, factors, network.weights)
    return museum


def asked_shapes(network: NetworkConfig, base: Networks) -> dict[str, LayerShape]:
    """The layers that a run asks for, by kohya key.

    Raises:
        ConfigError: network_args do not fit this base model.
    """
    convolutions, text = network.arguments.with_convolutions, network.train_text_encoder
    return layer_shapes(dict(target_modules(base, with_text_encoder=text, with_convolutions=convolutions)), network)


def warn_of_another_schedule(ledger: Ledger, loss: LossConfig) -> None:
    """Warn where the styles of a museum were taught under another noise schedule."""
    taught = {bool(record.settings.get("zero_terminal_snr")) for record in ledger.styles}
    if taught - {loss.zero_terminal_snr}:
        log.warning(
            "zero_terminal_snr: found %s, but this museum knows styles taught with %s; their scores were measured on "
            "another noise schedule",
            *(str(value).lower() for value in (loss.zero_terminal_snr, not loss.zero_terminal_snr)),
        )


def check_clip_skip(run: RunConfig, family: Family, base: str, layers: int) -> None:
    """Refuse a layer that the text encoder does not have; warn where none can be chosen.

    Raises:
        ConfigError: names both.
    """
    if family.penultimate:
        if run.base.clip_skip > _PENULTIMATE:
            log.warning(
                "clip_skip: found %d, which changes nothing: %s takes the last layer but one of its text encoders, "
                "as sd-scripts does", run.base.clip_skip, base,
            )  # fmt: skip
        return
    if run.base.clip_skip > layers:
        raise ConfigError(f"clip_skip: found {run.base.clip_skip}, but the text encoder of {base} has {layers}")


def check_shape(run: RunConfig, ledger: Ledger, path: Path, shapes: Mapping[str, LayerShape] | None = None) -> None:
    """Refuse to go on with a museum under another shape.

    Args:
        shapes: the layers that the run asks for; None: not known, or whatever the museum has.
    Raises:
        MuseumFileError: rank, alpha or targets differ.
    """
    network, text = run.network, run.network.train_text_encoder
    # With dim_from_weights a museum, as long as it is there, says itself what its shape is.
    rank, alpha = (getattr(ledger.network if network.dim_from_weights else network, x) for x in ("rank", "alpha"))
    if grows(run.method):
        _check_scale(ledger, path, rank, alpha)
        rank, alpha, shapes = ledger.network.rank, ledger.network.alpha, None
    check_network(ledger, path, rank=rank, alpha=alpha, with_text_encoder=text, shapes=shapes)


def _check_scale(ledger: Ledger, path: Path, rank: int, alpha: float) -> None:
    """Refuse a rank block under another scale than that of the museum's layers, which is one for all blocks."""
    scale = ledger.network.alpha / ledger.network.rank
    if not math.isclose(alpha / rank, scale):
        raise MuseumFileError(
            f"{path}: this museum has network_alpha / network_dim {scale:g}, and so has every further rank block; with "
            f"network_dim {rank} give network_alpha {scale * rank:g}, not {alpha:g}"
        )
