"""A network module for sd-scripts: its own, unchanged trainers teach a museum.

    accelerate launch train_network.py ... --network_module museum_plugin.kohya \\
        --network_args "museum=museums/mine.safetensors" "style=ukiyoe" "trigger=auto"

The methods of `MuseumNetwork` stand in the order in which the trainer calls them. See docs/sd-scripts.md.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn

from museum_plugin.base.borrowed import borrowed_base
from museum_plugin.base.family import SD1, SD2, SDXL
from museum_plugin.base.load import BaseModel
from museum_plugin.config.guest_run import GuestRun, learning_rates, read_guest_run
from museum_plugin.config.schema import BaseConfig, OptimizerConfig, RunConfig
from museum_plugin.data.guest_pictures import GuestPictures, forget_text_outputs, put_trigger
from museum_plugin.errors import ConfigError
from museum_plugin.methods import build_terms, grows
from museum_plugin.museum.file import FileForm, read_ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.norms import layer_norms, limit_norms
from museum_plugin.museum.training_strings import host_strings
from museum_plugin.train.guest import begin_guest_style, open_guest_slot
from museum_plugin.train.guest_loop import GuestLoop, ending_the_host
from museum_plugin.train.header import chosen_metadata
from museum_plugin.train.identity import museum_digest
from museum_plugin.train.museum_file import MuseumFile, museum_lock
from museum_plugin.train.parameter_groups import parameter_groups
from museum_plugin.train.start import check_writable, open_or_begin, with_base_weights, with_noise_schedule

log = logging.getLogger("museum")
_PRECISIONS = {None: "float", torch.float32: "float", torch.float16: "fp16", torch.bfloat16: "bf16"}


def create_network(
    multiplier: float,
    network_dim: int | None,
    network_alpha: float | None,
    vae: nn.Module,
    text_encoder: Any,
    unet: nn.Module,
    neuron_dropout: float | None = None,
    **network_args: Any,
) -> MuseumNetwork:
    """The network of a run. Rank, alpha and dropout are read in `prepare_network`, with all other arguments."""
    if not isinstance(network_args.get("dropout", ""), str):
        del network_args["dropout"]  # network_dropout, which the trainer hands on under two names
    return MuseumNetwork(vae, text_encoder, unet, network_args)


def create_network_from_weights(
    multiplier: float,
    file: str,
    vae: nn.Module,
    text_encoder: Any,
    unet: nn.Module,
    weights_sd: dict[str, Tensor] | None = None,
    for_inference: bool = False,
    **network_args: Any,
) -> tuple[MuseumNetwork, dict[str, Tensor]]:
    """The network of a run with `dim_from_weights`, and what the trainer calls for each of `base_weights`."""
    return MuseumNetwork(vae, text_encoder, unet, network_args), weights_sd or {}


class MuseumNetwork(nn.Module):
    """The shared LoRA and the slot of the style that is taught; saved and resumed by `accelerate` as any model."""

    origin: Tensor
    """What a state belongs to: base, museum, style and trigger."""

    def __init__(self, vae: nn.Module, text_encoder: Any, unet: nn.Module, network_args: dict[str, Any]) -> None:
        super().__init__()
        encoders = tuple(text_encoder) if isinstance(text_encoder, (list, tuple)) else (text_encoder,)
        self._networks = (unet, vae, encoders)  # in a tuple, which keeps them out of the state
        self._network_args = network_args
        self._held = ExitStack()
        self._datasets: list[Any] = []

    def merge_to(self, text_encoder: Any, unet: Any, weights_sd: Any, dtype: Any, device: Any) -> None:
        """Nothing yet: `base_weights` are merged in `prepare_network`, where the base's name and digest follow them."""

    @ending_the_host
    def prepare_network(self, args: Any) -> None:
        """Read every argument, open or begin the museum, open the slot.

        Raises:
            SystemExit: an argument, the museum or the trigger is not possible; what can be mended was said.
        """
        guest = read_guest_run(vars(args), self._network_args)
        output, method = guest.run.output, guest.run.method
        build_terms(method.name, method.weights)  # refuses what it does not know
        if grows(method):
            raise ConfigError(
                f"network_args: method: found {method.name!r}, which gives each style new parameters; the trainer's "
                "optimizer has taken those that were there. Allowed here: methods of one shared LoRA, such as museum"
            )
        path = Path(str(output.museum))
        for place in (path, output.output_dir / f"{output.output_name}.safetensors"):
            check_writable(place, make_folder=True)
        if PartialState().is_main_process:
            self._held.enter_context(museum_lock(path))
        self._file = MuseumFile(path)
        self.run, self._settings = _in_the_museums_shape(guest, path), guest.settings
        base = with_noise_schedule(_borrowed(self._networks, self.run.base), self.run.loss)
        self.museum = open_or_begin(self.run, with_base_weights(base, self.run.network))
        self.museum.metadata.update(chosen_metadata(self.run.metadata))
        open_guest_slot(self.museum, self.run, path)
        self.register_buffer("origin", _origin(self.museum, self.name))
        self.loop = GuestLoop(self.run, self.museum)
        self.counter, self.lora = self.loop.counter, self.museum.network
        self.slot = nn.ParameterList(self.museum.open_parameters(self.name))
        self.register_load_state_dict_pre_hook(self._check_state)

    def apply_to(self, text_encoder: Any, unet: Any, apply_text_encoder: bool = True, apply_unet: bool = True) -> None:
        """From now on the trainer's networks are the museum's; what is trained was settled in `prepare_network`."""
        self._held.enter_context(self.loop.attached())
        self._held.enter_context(_shown_datasets(self._take_dataset))

    def load_weights(self, file: str) -> str:
        """Nothing: `network_weights` was read in `prepare_network`."""
        return "read when the museum was begun; one that was there goes on from its own numbers"

    def enable_gradient_checkpointing(self) -> None:
        """The U-Net keeps no activations."""
        self.loop.checkpointing = True

    @ending_the_host
    def prepare_optimizer_params_with_multiple_te_lrs(
        self, text_encoder_lr: Any, unet_lr: float | None, default_lr: float | None = None
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Parameter groups with their `lr`, and what to call them in logs."""
        given = {"text_encoder_lr": text_encoder_lr, "unet_lr": unet_lr, "learning_rate": default_lr}
        run = replace(self.run, optimizer=OptimizerConfig(**learning_rates(given)))
        groups = [g for g in parameter_groups(run, self.museum, self.name) if g["params"] and g["lr"] > 0]
        if not groups:
            raise ConfigError("nothing is trained: every learning rate is 0; give learning_rate or slot_lr")
        self.loop.parameters = [parameter for group in groups for parameter in group["params"]]
        parts = {id(p): key.split("_")[1] for key, layer in self.lora.layers.items() for p in layer.parameters()}
        return groups, [parts.get(id(group["params"][0]), "slot") for group in groups]

    def prepare_optimizer_params(
        self, text_encoder_lr: float | None, unet_lr: float | None, default_lr: float | None = None
    ) -> list[dict[str, Any]]:
        """The same for trainers that know one rate for all text encoders."""
        return self.prepare_optimizer_params_with_multiple_te_lrs(text_encoder_lr, unet_lr, default_lr)[0]

    @ending_the_host
    def prepare_grad_etc(self, text_encoder: Any, unet: Any) -> None:
        """Everything stands where it is trained: the previous museum draws the bank."""
        slots, device = self.museum.slots.slots, self.museum.base.device
        self.museum.base.bring_text_encoders()
        for name in self.museum.styles():
            slots[name] = replace(slots[name], vectors=tuple(vector.to(device) for vector in slots[name].vectors))
        pictures, visible = GuestPictures.of(self._datasets), PartialState().is_local_main_process
        self.loop.style = begin_guest_style(self.run, self.museum, pictures, self._settings, visible=visible)

    def on_epoch_start(self, text_encoder: Any, unet: Any) -> None:
        """Train, and say what the terms were in the epoch before."""
        self.loop.say_terms()
        self.train()

    def on_step_start(self, text_encoder: Any, unet: Any) -> None:
        """The trainer's own forward pass comes next."""
        self.loop.begin_step()

    def get_trainable_params(self) -> list[nn.Parameter]:
        """What is clipped: all that the optimizer moves."""
        return self.loop.parameters

    def apply_max_norm_regularization(self, max_norm_value: float, device: Any) -> tuple[int, float, float]:
        """`scale_weight_norms`. Returns how many layers were scaled, then mean and largest norm."""
        found, norms = limit_norms(self.lora, max_norm_value), layer_norms(self.lora)
        return int(found["scaled_keys"]), norms.mean().item(), norms.max().item()

    def set_multiplier(self, multiplier: float) -> None:
        """0 is the bare base, which differential output preservation asks for; anything else is the museum."""
        self.lora.enabled = self.museum.slots.enabled = multiplier != 0

    @ending_the_host
    def save_weights(self, file: str, dtype: torch.dtype | None, metadata: dict[str, Any] | None) -> None:
        """Write the museum to `file`; with the last file of the run the museum of `network_args` grows too.

        Raises:
            SystemExit: a number is not finite, or a file cannot be written; what was there is untouched.
        """
        self.museum.metadata.update(host_strings(metadata or {}))
        path, style, steps = Path(file), self.loop.style, self.loop.steps
        assert style is not None
        form = FileForm(_PRECISIONS[dtype], with_ledger=not self.run.metadata.no_metadata)
        is_last = path.stem == self.run.output.output_name
        if not is_last or path.resolve() != self._file.path.resolve():
            style.write_between(path, steps, form)
        if is_last:
            self.loop.say_terms()
            written = style.finish(self._file, steps)
            log.info("style %r is in %s; its trigger: %s", self.name, written, self.museum.phrase(self.name))
            self.close()

    def close(self) -> None:
        """Give the trainer's networks back as they were, and free the museum."""
        self._held.close()

    @property
    def name(self) -> str:
        """The style's."""
        return str(self.run.styles[0].name)

    def _take_dataset(self, dataset: Any) -> None:
        if forget_text_outputs(dataset):
            log.warning("cached text encoder outputs are set aside: the slot is learned through the text encoders")
        put_trigger(dataset, self.museum.phrase(self.name))
        self._datasets.append(dataset)

    @ending_the_host
    def _check_state(self, _module: nn.Module, state: dict[str, Tensor], prefix: str, *_rest: Any) -> None:
        found = state.get(f"{prefix}origin")
        if found is None or not torch.equal(found.cpu(), self.origin.cpu()):
            raise ConfigError(
                f"resume: the state is not one of style {self.name!r} on {self._file.path} as that is now; give the "
                "museum, style, trigger and base model it was saved with"
            )


def _in_the_museums_shape(guest: GuestRun, path: Path) -> RunConfig:
    """The run; without network_dim with the rank and alpha that the museum has."""
    if guest.shape_is_given or not path.exists():
        return guest.run
    shape = read_ledger(path).network
    return replace(guest.run, network=replace(guest.run.network, rank=shape.rank, alpha=shape.alpha))


def _borrowed(networks: tuple[Any, Any, tuple[Any, ...]], told: BaseConfig) -> BaseModel:
    unet, vae, encoders = networks
    strategy = _of_sd_scripts("library.strategy_base", "TokenizeStrategy").get_strategy()
    tokenizers = (getattr(strategy, name, None) for name in ("tokenizer", "tokenizer1", "tokenizer2"))
    return borrowed_base(
        told.path,
        SDXL if len(encoders) == 2 else SD2 if told.v2 else SD1,
        "v_prediction" if told.v_parameterization else "epsilon",
        unet=unet,
        vae=vae,
        text_encoders=encoders,
        tokenizers=tuple(tokenizer for tokenizer in tokenizers if tokenizer is not None),
    )


def _origin(museum: Museum, style: str) -> Tensor:
    """(32,) bytes that tell one style on one museum from another."""
    digest = hashlib.sha256(f"{museum.base.fingerprint}/{museum_digest(museum)}/{style}".encode()).digest()
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)


def _of_sd_scripts(module: str, name: str) -> Any:
    """Something of the program that has loaded this module.

    Raises:
        ConfigError: it is another program, or one without it.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        told = "museum_plugin.kohya works inside the trainers of sd-scripts (0.9 or newer)"
        raise ConfigError(f"{told}, and there is no {module}.{name} here; train_museum.py needs none") from error


@contextmanager
def _shown_datasets(take: Callable[[Any], None]) -> Iterator[None]:
    """While inside, `take` is called with every dataset that the trainer makes ready, before anything reads of it."""
    dataset_class = _of_sd_scripts("library.train_util", "BaseDataset")
    plain = dataset_class.set_current_strategies

    def set_current_strategies(dataset: Any) -> None:
        plain(dataset)
        take(dataset)

    dataset_class.set_current_strategies = set_current_strategies
    try:
        yield
    finally:
        dataset_class.set_current_strategies = plain
