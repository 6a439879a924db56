"""A stand-in for sd-scripts' LoRA trainer: what it hands to a network module, and when. Own code, nothing of theirs.

The order of the calls is that of `train_network.py` and `sdxl_train_network.py`; the numbers (batches, noise,
optimizer) are those of `train_museum.py`, so that the two can be compared.
"""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pytest
import torch
from accelerate import Accelerator
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_pictures, encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_states import TextStates
from museum_plugin.config.schema import DatasetConfig, LossConfig, OptimizerConfig, StyleData, SubsetConfig
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.train.noising import draw_noise, draw_timesteps
from museum_plugin.train.optimizer import build_optimizer
from museum_plugin.train.schedule import build_schedule
from museum_plugin.train.step import rng_for
from tests.recipes.original_sdxl import OriginalUNet
from tests.recipes.school import SIZE

TRAINER = "tests.recipes.sd_scripts"


class TokenizeStrategy:
    """One of the whole program."""

    current: SimpleNamespace

    @classmethod
    def get_strategy(cls) -> SimpleNamespace:
        return cls.current


class BaseDataset:
    """sd-scripts' dataset as far as its loop uses it."""

    is_training_dataset = True
    latents_caching_strategy = text_encoder_output_caching_strategy = None

    def __init__(self, pictures: Sequence[Path], subset: SimpleNamespace | None = None) -> None:
        subset = subset or plain_subset()
        self.image_data = {str(path): record_of(path, subset) for path in pictures}
        self.image_to_subset = dict.fromkeys(self.image_data, subset)
        self.seen: list[str] = []
        self.is_ready = self.caches_text = False

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.image_data)

    def cache_text(self) -> None:
        """What the text encoders make of captions is kept from now on: of captions as they are in files."""
        self.caches_text = True
        for info in self.image_data.values():
            info.text_encoder_outputs = info.caption

    def set_current_strategies(self) -> None:
        self.is_ready = True
        self.text_encoder_output_caching_strategy = SimpleNamespace() if self.caches_text else None

    def process_caption(self, subset: SimpleNamespace, caption: str) -> str:
        return "" if subset.caption_dropout_rate == 1 else caption

    def caption(self, path: Path) -> str:
        """What the text encoder reads of a picture in a step."""
        assert self.is_ready
        key = str(path)
        info = self.image_data[key]
        shown = self.process_caption(self.image_to_subset[key], info.caption)
        self.seen.append(shown if info.text_encoder_outputs is None else info.text_encoder_outputs)
        return self.seen[-1]


def plain_subset(**changes: object) -> SimpleNamespace:
    usual = dict.fromkeys(("keep_tokens_separator", "secondary_separator", "caption_prefix", "caption_suffix"))
    others = {"enable_wildcard": False, "caption_separator": ",", "is_reg": False, "caption_dropout_rate": 0.0}
    return SimpleNamespace(**{**usual, **others, **changes})


def record_of(path: Path, subset: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(
        absolute_path=str(path),
        caption=path.with_suffix(".txt").read_text(encoding="utf-8"),
        is_reg=subset.is_reg,
        num_repeats=2,
        bucket_reso=(SIZE, SIZE),
        latents=None,
        latents_npz=None,
        text_encoder_outputs=None,
        text_encoder_outputs_npz=None,
    )


def install(patch: pytest.MonkeyPatch, base: BaseModel) -> None:
    """Let `library.*` be this stand-in, as it is sd-scripts in its own process."""
    names = ("tokenizer",) if len(base.tokenizers) == 1 else ("tokenizer1", "tokenizer2")
    TokenizeStrategy.current = SimpleNamespace(**dict(zip(names, base.tokenizers, strict=True)))
    modules = {"library": ModuleType("library"), "library.strategy_base": sys.modules[TRAINER]}
    for name, module in {**modules, "library.train_util": sys.modules[TRAINER]}.items():
        patch.setitem(sys.modules, name, module)


def arguments(**changes: object) -> Namespace:
    """sd-scripts' arguments that a network module may look at; the quick ones of the tests."""
    usual: dict[str, object] = {
        "v2": False, "v_parameterization": False, "mixed_precision": "no", "clip_skip": None, "max_token_length": None,
        "weighted_captions": False, "network_dim": 2, "network_alpha": 2.0, "network_dropout": None,
        "network_weights": None, "dim_from_weights": False, "base_weights": None, "base_weights_multiplier": None,
        "scale_weight_norms": None, "network_train_unet_only": True, "network_train_text_encoder_only": False,
        "learning_rate": 0.01, "unet_lr": None, "text_encoder_lr": None, "zero_terminal_snr": False, "seed": 0,
        "gradient_accumulation_steps": 1, "max_grad_norm": 1.0, "max_train_steps": 3, "output_dir": None,
        "output_name": None, "save_model_as": "safetensors", "save_precision": None, "no_metadata": False,
        "save_every_n_steps": None, "save_state": False, "resume": None, "gradient_checkpointing": False,
        "training_comment": "by hand", "metadata_author": "Ann",
    }  # fmt: skip
    return Namespace(**{**usual, **changes})


QUICK = {
    "replay_per_style": "2",
    "replay_neutral": "2",
    "replay_batch_size": "2",
    "replay_sampling_steps": "2",
    "sample_steps": "1",
}
"""network_args of a run of a second."""


@dataclass
class Trainer:
    """One run of the trainer."""

    base: BaseModel
    args: Namespace
    network_args: dict[str, str]
    pictures: list[Path]
    batch_size: int = 2
    spoil: Callable[[Tensor], Tensor] = lambda loss: loss
    """What becomes of the trainer's own loss."""
    datasets: list[BaseDataset] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    network: Any = None
    optimizer_type: str = "AdamW"
    halves: bool = False
    """Each batch of four is two micro-steps."""

    def __post_init__(self) -> None:
        is_sdxl = len(self.base.text_encoders) == 2
        self.unet: Any = OriginalUNet(self.base.unet) if is_sdxl else self.base.unet
        self.text: Any = list(self.base.text_encoders) if is_sdxl else self.base.text_encoders[0]

    def set_up(self) -> Self:
        """Everything before the first step."""
        args, base = self.args, self.base
        module = importlib.import_module("museum_plugin.kohya")
        encoder, unet = self.text, self.unet
        for path, multiplier in zip(args.base_weights or (), args.base_weights_multiplier or (), strict=True):
            merged, tensors = module.create_network_from_weights(
                multiplier, path, base.vae, encoder, unet, for_inference=True
            )
            merged.merge_to(encoder, unet, tensors, torch.float32, "cpu")
        if args.dim_from_weights:
            network, _ = module.create_network_from_weights(
                1, args.network_weights, base.vae, encoder, unet, **self.network_args
            )
        else:
            more = {"dropout": args.network_dropout, **self.network_args}
            network = module.create_network(
                1.0, args.network_dim, args.network_alpha, base.vae, encoder, unet,
                neuron_dropout=args.network_dropout, **more,
            )  # fmt: skip
        self.accelerator = Accelerator(
            mixed_precision=args.mixed_precision, gradient_accumulation_steps=args.gradient_accumulation_steps
        )
        network.prepare_network(args)
        self.trains_text, trains_unet = not args.network_train_unet_only, not args.network_train_text_encoder_only
        network.apply_to(encoder, unet, self.trains_text, trains_unet)
        if args.network_weights is not None:
            network.load_weights(args.network_weights)
        if args.gradient_checkpointing:
            network.enable_gradient_checkpointing()
        groups, self.descriptions = network.prepare_optimizer_params_with_multiple_te_lrs(
            args.text_encoder_lr, args.unet_lr, args.learning_rate
        )
        optimizer = build_optimizer(OptimizerConfig(self.optimizer_type), groups)
        self.datasets = self.datasets or [BaseDataset(self.pictures)]
        for dataset in self.datasets:
            dataset.set_current_strategies()
        schedule = build_schedule(OptimizerConfig(), optimizer, args.max_train_steps)
        self.network, self.optimizer, self.schedule = self.accelerator.prepare(network, optimizer, schedule)
        self.network.prepare_grad_etc(encoder, unet)
        if args.resume:
            self.accelerator.load_state(str(args.resume))
        return self

    def run(self, start: int = 0) -> Self:
        """The loop and the last file.

        Args:
            start: steps that a resumed run does not do again.
        """
        self.set_up()
        source = Source(self)
        self.network.on_epoch_start(self.text, self.unet)
        for step in range(start, self.args.max_train_steps):
            for micro in range(self.args.gradient_accumulation_steps):
                with self.accelerator.accumulate(self.network):
                    self._micro_step(source, step, micro)
            if self.args.scale_weight_norms:
                self.network.apply_max_norm_regularization(self.args.scale_weight_norms, "cpu")
            done = step + 1
            if self.args.save_every_n_steps and done % self.args.save_every_n_steps == 0:
                name = f"{self.args.output_name}-step{done:08d}"
                self._save(name, done)
                if self.args.save_state:
                    self.accelerator.save_state(str(Path(self.args.output_dir) / f"{name}-state"))
        self._save(self.args.output_name, self.args.max_train_steps)
        return self

    def _micro_step(self, source: Source, step: int, micro: int) -> None:
        self.gradients(source, step, micro)
        if self.accelerator.sync_gradients and self.args.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.network.get_trainable_params(), self.args.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    def gradients(self, source: Source, step: int, micro: int) -> None:
        """The forward and backward pass of a micro-step."""
        network, base, accelerator = self.network, self.base, self.accelerator
        network.on_step_start(self.text, self.unet)
        latents, noise, t, captions = source.batch(step, micro)
        with torch.set_grad_enabled(self.trains_text), accelerator.autocast():
            text = encode_prompts(base, captions)
        noisy = source.denoiser.add_noise(latents, noise, t)
        with torch.set_grad_enabled(True), accelerator.autocast():
            pred = self._called(noisy.requires_grad_(True), t, text)
        loss = self.spoil((pred.float() - noise).square().mean())
        self.losses.append(loss.item())
        accelerator.backward(loss)

    def _called(self, noisy: Tensor, t: Tensor, text: TextStates) -> Tensor:
        """The U-Net; SDXL's takes the pooled text and the sizes of whole pictures in one vector."""
        pred: Tensor
        if text.pooled is None:
            pred = self.unet(noisy, t, text.states).sample
            return pred
        sizes = torch.tensor([[SIZE, SIZE, 0, 0, SIZE, SIZE]]).expand(len(noisy), -1)
        width = (self.unet.label_emb[0][0].in_features - text.pooled.shape[1]) // sizes.shape[1]
        waves = [get_timestep_embedding(each, width, True, 0) for each in sizes.T]
        pred = self.unet(noisy, t, text.states, torch.cat([text.pooled, *waves], dim=1))
        return pred

    def _save(self, name: str, steps: int) -> None:
        metadata = {"ss_steps": str(steps), "ss_session_id": "17", "ss_bucket_info": "x" * 2**20}
        dtype = {None: None, "fp16": torch.float16, "bf16": torch.bfloat16, "float": torch.float32}
        file = str(Path(self.args.output_dir) / f"{name}.safetensors")
        self.accelerator.unwrap_model(self.network).save_weights(file, dtype[self.args.save_precision], metadata)


Host = Callable[..., Trainer]
"""Makes a trainer of a style, with network_args and changed arguments."""


class Source:
    """Batches, noise and timesteps of `train_museum.py` with the same pictures and seed."""

    def __init__(self, trainer: Trainer) -> None:
        subset = SubsetConfig(trainer.pictures[0].parent, caption_extension=".txt")
        config = DatasetConfig((subset,), (SIZE, SIZE), trainer.batch_size)
        self.style = trainer.network_args["style"]
        self.dataset = StyleDataset(StyleData(self.style, "auto", (config,)), prior_loss_weight=1.0)
        self.denoiser = Denoiser(trainer.base)
        self._trainer = trainer

    def batch(self, step: int, micro: int) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Latents (B, C, h, w), noise, t (B,) and captions of a micro-step."""
        args, halves = self._trainer.args, self._trainer.halves
        index = step if halves else step * args.gradient_accumulation_steps + micro
        shown = self.dataset.batch(index, args.seed)
        latents = encode_pictures(self._trainer.base, self.dataset.images(shown))
        rng = rng_for(args.seed, self.style, step, 0 if halves else micro)
        noise = draw_noise(latents, LossConfig(), rng.tensor)
        t = draw_timesteps(len(noise), self.denoiser.timesteps, LossConfig(), rng.tensor)
        captions = [self._trainer.datasets[0].caption(picture.path) for picture in shown.pictures]
        part = slice(2 * micro, 2 * micro + 2) if halves else slice(None)
        return latents[part], noise[part], t[part], captions[part]
