"""A step of a run without numbers: the real code on torch's meta device, so that its memory can be counted.

Nothing is computed and no weight is read: a step of SDXL takes about two seconds.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from museum_plugin.base.as_on_card import AsOnCard, run_backward
from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.folder import BaseOutline, EmptyNetworks
from museum_plugin.base.frozen import tensors_of
from museum_plugin.base.live_bytes import LiveBytes
from museum_plugin.base.load import BaseModel
from museum_plugin.base.memory import fit_unet
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.config.schema import BaseConfig, RunConfig
from museum_plugin.data.buckets import Size
from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.methods import build_terms
from museum_plugin.methods.bank import ReplayBatch
from museum_plugin.methods.material import watched_blocks
from museum_plugin.methods.method import FEATURES, FISHER, MOMENTS, NEW_PICTURES, REPLAY, Reads, StyleStart
from museum_plugin.methods.moments import DIRECTIONS, InputMoment, measured_modules
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.store import new_museum
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.museum.triggers import single_token
from museum_plugin.train.setup import text_is_frozen
from museum_plugin.train.start import asked_shapes
from museum_plugin.train.step import (
    PassOptions,
    ReplayInputs,
    StyleBatch,
    add_gradients,
    fits_beside,
    loss_terms,
    penalties,
    replay_pass,
    rng_for,
    student_pass,
)

HALVES = {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}
_META = torch.device("meta")
_STYLE = "the new style"


@dataclass(frozen=True)
class Subject:
    """What a step is about, as far as memory depends on it."""

    size: Size
    """(width, height) in pixels of the pictures that take most."""
    pictures: int
    """In a batch."""
    bank_size: Size
    """Of what the previous museum draws."""
    words: tuple[str, ...] = ()
    """Slot words of the style; none for a plain LoRA."""
    ledger: Ledger | None = None
    """Of the museum that grows; None: it begins."""


class DryRun:
    """A museum on the meta device, as a run would have it on its card when a style begins."""

    def __init__(self, run: RunConfig, outline: BaseOutline, networks: EmptyNetworks, subject: Subject) -> None:
        """Lay the base out as the run asks, and put a LoRA on it.

        Raises:
            ConfigError: network_args do not fit the base, or a slot word is no single token.
        """
        self.run, self.subject = run, subject
        self.style = _STYLE if subject.words else None
        self._half = HALVES[run.base.mixed_precision]
        with AsOnCard(None):
            self.museum = _museum(run, _base(run, outline, networks), subject)
        self.terms = build_terms(run.method.name if subject.words else "finetune", run.method.weights)
        needs = frozenset[str]().union(*(term.needs for term, _ in self.terms.values()))
        old = len(subject.ledger.styles) if subject.ledger else 0
        draws = REPLAY in needs and (run.replay.neutral or old * run.replay.per_style)
        self.has_bank = bool(draws or (NEW_PICTURES in needs and old))
        self._watched = watched_blocks(Denoiser(self.museum.base)) if FEATURES in needs and self.has_bank else ()
        self.kept = self._begin(needs if old else needs - {FISHER})

    def modules(self) -> tuple[nn.Module, ...]:
        """U-Net, text encoders, LoRA."""
        return (self.museum.base.unet, *self.museum.base.text_encoders, self.museum.network)

    def step(self, asked: BaseConfig | None = None) -> int:
        """Bytes at the peak of a step: activations and gradients, without what is there before it.

        Args:
            asked: how what a step keeps is checkpointed; None: as the run says.
        """
        museum, run = self.museum, self.run
        _checkpoint(museum.base.unet, asked or run.base)
        denoiser, text = Denoiser(museum.base), TextEncoding.of(run.base)
        states = StateCache(museum, text) if text_is_frozen(run, museum) else None
        options = PassOptions(run.loss, text, self._watched, states=states)
        with self._counting() as counted, museum.attached():
            with AsOnCard(None):
                replay = self._replay(text) if self.has_bank else None
            batch = self._batch()
            apart = run.replay.apart or not fits_beside(batch, replay)
            kinds = (Reads.PICTURES,) if apart else tuple(Reads)
            with AsOnCard(self._half) as card:
                done = student_pass(museum, denoiser, batch, rng_for(0, _STYLE, 0), options, None if apart else replay)
                _backward(loss_terms(museum, done, self.terms, run.loss, denoiser.prediction_type, *kinds), card)
            if apart:
                with AsOnCard(self._half) as card:
                    short = replace(done.step, memory_is_short=True)
                    _backward(penalties(museum, short, self.terms, Reads.LORA), card)
            if apart and replay is not None:
                with AsOnCard(self._half) as card:
                    seen = replay_pass(denoiser, done.step, replay, self._watched)
                    _backward(penalties(museum, seen, self.terms, Reads.BANK), card)
        self._forget_gradients()
        return counted.most

    def drawing(self, pictures: int) -> int:
        """Bytes at the peak of one step of the sampler, with guidance, for so many pictures at once."""
        museum = self.museum
        with self._counting() as counted, AsOnCard(None), museum.attached(), torch.no_grad():
            noisy = torch.empty(pictures, 4, *self._latent(self.subject.bank_size), device=_META)
            states = encode_prompts(museum.base, [""], TextEncoding.of(self.run.base)).repeated(2 * pictures)
            t = torch.zeros(2 * pictures, dtype=torch.long, device=_META)
            Denoiser(museum.base).predict(noisy.repeat(2, 1, 1, 1), t, states)
        return counted.most

    def _counting(self) -> LiveBytes:
        counted = LiveBytes()
        counted.leave_out(tensor for module in self.modules() for tensor in tensors_of(module))
        return counted

    def _batch(self) -> StyleBatch:
        count, words = self.subject.pictures, self.subject.words
        latents = torch.empty(count, 4, *self._latent(self.subject.size), device=_META)
        prompts = (" ".join((*words, "a picture")),) * count
        return StyleBatch(latents, prompts, torch.ones(count, device=_META))

    def _latent(self, size: Size) -> tuple[int, int]:
        factor = self.museum.base.latent_factor
        return size[1] // factor, size[0] // factor

    def _replay(self, text: TextEncoding) -> ReplayInputs:
        """The bank's batch of a step; its predictions are those of nobody."""
        museum, pictures = self.museum, self.subject.pictures
        count = max(self.run.replay.anchors_at(pictures, number) for number in range(2))
        noisy = torch.empty(count, 4, *self._latent(self.subject.bank_size), device=_META)
        t, prompts = torch.zeros(count, dtype=torch.long, device=_META), ("a picture",) * count
        with torch.set_grad_enabled(self.run.network.train_text_encoder):
            states = encode_prompts(museum.base, prompts, text)
        features = self._features(noisy, t, states) if self._watched else ()
        batch = ReplayBatch(noisy, t, prompts, torch.empty_like(noisy), features, tuple(range(count)))
        return ReplayInputs(batch, states)

    @torch.no_grad()
    def _features(self, noisy: Tensor, t: Tensor, states: TextStates) -> tuple[Tensor, ...]:
        denoiser = Denoiser(self.museum.base)
        with denoiser.watch(self._watched) as found:
            denoiser.predict(noisy, t, states)
        return tuple(torch.empty(block.shape, device=_META) for block in found)

    def _begin(self, needs: frozenset[str]) -> int:
        """Tell the terms that a style begins. Returns the bytes that they keep for as long as it is taught."""
        network = self.museum.network
        with AsOnCard(None), LiveBytes() as counted:
            counted.leave_out(tensor for module in self.modules() for tensor in tensors_of(module))
            moments = self._moments() if MOMENTS in needs and self.has_bank else {}
            named = dict(network.named_parameters())
            fisher = {name: torch.zeros_like(p) for name, p in named.items() if FISHER in needs and p.requires_grad}
            size = self._latent(self.subject.size)
            means = {size: torch.empty(4, *size, device=_META)}
            start = StyleStart(self.museum, None, moments, means, fisher, 0)
            for term, _ in self.terms.values():
                term.begin_style(start)
            del start, moments, fisher, means
        return counted.now

    def _moments(self) -> dict[str, InputMoment]:
        """One for every width: the term that is given them makes its own copies."""
        dtype, by_width = self.museum.base.unet.dtype, dict[int, InputMoment]()
        widths = {key: module.weight[0].numel() for key, module in measured_modules(self.museum).items()}
        for width in set(widths.values()):
            factor = torch.empty(width, min(DIRECTIONS, width), dtype=dtype, device=_META)
            rest, energy = (torch.empty((), device=_META) for _ in range(2))
            by_width[width] = InputMoment(SecondMoment(factor, rest), energy)
        return {key: by_width[width] for key, width in widths.items()}

    def _forget_gradients(self) -> None:
        for parameter in self.museum.network.parameters():
            parameter.grad = None


def _backward(found: dict[str, Tensor], card: AsOnCard) -> None:
    card.end_of_pass()
    add_gradients(found, 1, run_backward)


def laid_out_unet(networks: EmptyNetworks, asked: BaseConfig) -> Any:
    """A frozen U-Net as a run lays it out, without numbers."""
    unet = _frozen(networks.unet, HALVES[asked.mixed_precision] or torch.float32)
    fit_unet(unet, asked)
    return unet


def _frozen(network: nn.Module, dtype: torch.dtype) -> Any:
    return nn.Module.to(copy.deepcopy(network), dtype=dtype).requires_grad_(False).eval()


def _base(run: RunConfig, outline: BaseOutline, networks: EmptyNetworks) -> BaseModel:
    dtype = HALVES[run.base.mixed_precision] or torch.float32
    return BaseModel(
        name=outline.name,
        family=outline.family,
        prediction_type=outline.prediction_type,
        fingerprint="",
        vae_fingerprint="",
        unet=laid_out_unet(networks, run.base),
        vae=_frozen(networks.vae, torch.float32),
        text_encoders=tuple(_frozen(encoder, dtype) for encoder in networks.text_encoders),
        tokenizers=outline.tokenizers,
        alphas_cumprod=torch.empty(outline.timesteps, device=_META),
    )


def _checkpoint(unet: Any, asked: BaseConfig) -> None:
    if asked.cpu_offload_checkpointing:
        unet.enable_gradient_checkpointing(_checkpoint_elsewhere)
    elif asked.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    else:
        unet.disable_gradient_checkpointing()


def _checkpoint_elsewhere(module: nn.Module, *inputs: Any) -> Any:
    """As `checkpoint_in_host_memory`; what goes there has no numbers to copy."""

    def away(tensor: Tensor) -> tuple[torch.Size, tuple[int, ...], torch.dtype]:
        return tensor.shape, tensor.stride(), tensor.dtype

    def back(shape: tuple[torch.Size, tuple[int, ...], torch.dtype]) -> Tensor:
        return torch.empty_strided(shape[0], shape[1], dtype=shape[2], device=_META)

    with torch.autograd.graph.saved_tensors_hooks(away, back):
        return checkpoint(module, *inputs, use_reentrant=False)


def _museum(run: RunConfig, base: BaseModel, subject: Subject) -> Museum:
    network, ledger, block = run.network, subject.ledger, 0
    if ledger is not None:
        shapes = {key: LayerShape(*ledger.network.shape(key)) for key in ledger.network.targets}
        grown = build_terms(run.method.name, run.method.weights).values()
        block = network.rank if ledger.styles and any(term.grows for term, _ in grown) else 0
        shapes = {key: LayerShape(shape.rank + block, shape.alpha) for key, shape in shapes.items()}
    else:
        shapes = asked_shapes(network, base)
    text_keys = tuple(f"lora_{part}_" for part in base.family.text_parts)
    museum = new_museum(
        base,
        rank=network.rank,
        alpha=network.alpha,
        seed=0,
        with_text_encoder=any(key.startswith(text_keys) for key in shapes),
        shapes=shapes,
        museum_id="",
    )
    if ledger is not None:
        museum.ledger = replace(ledger, network=museum.ledger.network)
    if not network.train_text_encoder:
        museum.network.freeze(text_keys)
    if subject.words:
        ids = tuple(single_token(base, word) for word in subject.words)
        widths = [encoder.get_input_embeddings().weight.shape[1] for encoder in base.text_encoders]
        vectors = tuple(nn.Parameter(torch.empty(len(ids), width, device=_META)) for width in widths)
        museum.slots.slots[_STYLE] = Slot(_STYLE, subject.words, ids, vectors)
    return museum
