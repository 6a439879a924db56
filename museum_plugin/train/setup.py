"""Everything a style needs before its first step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_pictures
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.arguments import describe
from museum_plugin.config.schema import RunConfig, StyleData
from museum_plugin.data.buckets import Size
from museum_plugin.data.cache import LatentCache
from museum_plugin.data.captions import content_of, contents_of
from museum_plugin.data.dataset import StyleDataset
from museum_plugin.data.picture import Picture
from museum_plugin.methods import build_terms
from museum_plugin.methods.bank import Bank
from museum_plugin.methods.method import NEW_PICTURES, REPLAY, Term
from museum_plugin.methods.museum import FunctionLock
from museum_plugin.museum.growth import add_block
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import museum_file_bytes
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.museum.triggers import choose_words, single_token
from museum_plugin.train.batch_order import BatchOrder
from museum_plugin.train.calendar import Calendar, calendar_for
from museum_plugin.train.checkpoint import Origin, Training
from museum_plugin.train.identity import digests_in_words, identity_of
from museum_plugin.train.museum_file import MuseumFile
from museum_plugin.train.nonfinite import Skips
from museum_plugin.train.optimizer import build_optimizer
from museum_plugin.train.parameter_groups import parameter_groups
from museum_plugin.train.paths import checkpoint_file, latents_folder
from museum_plugin.train.previous import Shown, draw_material, style_start
from museum_plugin.train.resume import state_to_go_on_from
from museum_plugin.train.schedule import build_schedule
from museum_plugin.train.step import PassOptions

EXTRA_LOCK = 30.0
"""Weight of the function lock in extra steps. Source: ours, measured; see docs/method.md."""
STATISTICS_PICTURES = 256
"""Pictures whose latents make a style's statistics."""


@dataclass(frozen=True)
class Classroom:
    """What stays the same from style to style."""

    run: RunConfig
    accelerator: Accelerator
    museum: Museum
    denoiser: Denoiser
    cache: LatentCache
    file: MuseumFile | None = None
    """The file that grows; None: this run writes none."""


@dataclass(frozen=True)
class Lesson:
    """What one style is taught with."""

    name: str
    """The style's name; "" for a plain LoRA."""
    phrase: str
    dataset: StyleDataset
    captions: tuple[str, ...]
    """Different captions of the style without trigger: what the pictures show."""
    latents: tuple[Tensor, ...]
    """(C, h, w) of each picture (of the first 256), for the style's statistics."""
    training: Training
    bank: Bank | None
    states: StateCache
    options: PassOptions
    settings: dict[str, Any]
    """The flags of the run, as far as they are this style's."""
    origin: Origin
    """What must be the same for a state of this style to be resumed."""
    unfinished: dict[str, Any]
    """The state of a run that was broken off in this style; empty if there was none."""
    calendar: Calendar
    order: BatchOrder
    museum_before: bytes = b""
    """The file of the museum before this style, where whole states are saved."""
    kept_bank: Bank | None = None
    """The bank for extra steps: that of the steps before, or its own where the method has none."""
    begun: int = 0
    """Steps that came before, where this is a round of extra ones."""
    rounds_left: int = 0
    """Rounds of extra steps that may follow this one."""

    @property
    def title(self) -> str:
        """The style's name as shown to the user."""
        return self.name or "LoRA"


def begin_style(room: Classroom, style: StyleData, dataset: StyleDataset) -> Lesson:
    """Open the slot, draw the bank, make optimiser and schedule.

    Raises:
        ConfigError: trigger, method, optimiser or schedule are not possible; or another run was broken off here.
    """
    run, museum, text = room.run, room.museum, TextEncoding.of(room.run.base)
    name = style.name or ""
    words = () if style.name is None else slot_words_for(museum, style, run.slot.vectors)
    settings = describe(replace(run, styles=(style,)))
    origin = Origin(name, identity_of(settings, dataset, museum), digests_in_words(dataset, museum))
    unfinished = state_to_go_on_from(run.output, checkpoint_path(room), origin, museum.styles())
    processes, process = room.accelerator.num_processes, room.accelerator.process_index
    accumulated = run.training.gradient_accumulation_steps
    order = BatchOrder(dataset.batches_per_epoch, accumulated, processes, process)
    calendar = calendar_for(run.training, order)
    whole_states = run.output.save_state or run.output.save_state_on_train_end
    museum_before = museum_file_bytes(museum, run.output.output_name) if whole_states else b""
    latents = _training_latents(room, dataset)
    captions = content_captions(dataset, " ".join(words))
    terms = build_terms(run.method.name if style.name else "finetune", run.method.weights)
    block = run.network.rank if museum.styles() and any(term.grows for term, _ in terms.values()) else 0
    if block:
        add_block(museum, block)
    plan = sampling_plan(run, dataset, room)
    visible = room.accelerator.is_local_main_process
    pictures = tuple(zip(latents, _contents(dataset, " ".join(words)), strict=True))
    drawn_for = {**extra_terms(run, museum), **terms}
    material = draw_material(run, museum, Shown(name, captions, pictures), plan, drawn_for, visible=visible)
    if words:
        open_slot(museum, name, words, run.slot.init)
    start = style_start(museum, material, latents, block)
    for term, _ in terms.values():
        term.begin_style(start)
    optimizer = build_optimizer(run.optimizer, parameter_groups(run, museum, style.name))
    schedule = build_schedule(run.optimizer, optimizer, calendar.steps)
    scaler = room.accelerator.scaler  # of fp16
    if scaler is not None:
        optimizer = room.accelerator.prepare(optimizer)
    return Lesson(
        name=name,
        phrase=museum.phrase(style.name),
        dataset=dataset,
        captions=captions,
        latents=latents,
        training=Training(museum, optimizer, schedule, terms, scaler, Skips(run.training.skip_nonfinite)),
        bank=material.bank if any(term.needs & {REPLAY, NEW_PICTURES} for term, _ in terms.values()) else None,
        states=material.states,
        options=PassOptions(
            run.loss,
            text,
            material.watched,
            run.slot.dropout,
            states=material.states if text_is_frozen(run, museum) else None,
        ),
        settings=settings,
        origin=origin,
        unfinished=unfinished,
        calendar=calendar,
        order=order,
        museum_before=museum_before,
        kept_bank=material.bank,
    )


def text_is_frozen(run: RunConfig, museum: Museum) -> bool:
    """Whether a text encoder gives the same in every step; a frozen LoRA on it may still be left out at times."""
    on_text = any(not key.startswith("lora_unet_") for key in museum.network.layers)
    return not (run.network.train_text_encoder or (on_text and museum.network.dropout.is_on))


def extra_terms(run: RunConfig, museum: Museum) -> dict[str, tuple[Term, float]]:
    """What extra steps need besides the method's own terms; nothing where there can be none."""
    may_follow = run.gate.extra_steps and run.gate.mode == "on" and museum.ledger.styles
    return {FunctionLock.name: (FunctionLock(), EXTRA_LOCK)} if may_follow else {}


def checkpoint_path(room: Classroom) -> Path:
    """Where the state of an unfinished style is kept."""
    return checkpoint_file(room.run.output)


def sampling_plan(run: RunConfig, dataset: StyleDataset, room: Classroom) -> SamplingPlan:
    """How this run draws pictures for judging and previews: in the style's own resolution unless told otherwise."""
    return plan_in(run, room.museum.base, dataset.pictures[0].placement.bucket)


def plan_in(run: RunConfig, base: BaseModel, size: Size) -> SamplingPlan:
    """The same for pictures of this width and height, in whole positions of the U-Net's smallest stage."""
    factor = base.latent_factor * 2 ** (len(base.unet.down_blocks) - 1)
    width, height = run.preview.width or size[0], run.preview.height or size[1]
    return SamplingPlan(
        width=width // factor * factor or factor,
        height=height // factor * factor or factor,
        steps=run.preview.sampling_steps,
        guidance=run.preview.guidance,
        text=TextEncoding.of(run.base),
    )


def content_captions(dataset: StyleDataset, trigger: str) -> tuple[str, ...]:
    """What the pictures show, without the trigger; see `contents_of`."""
    shown = (picture for picture in dataset.pictures if not picture.subset.is_reg)
    return contents_of(((picture.caption, picture.subset) for picture in shown), trigger)


def _contents(dataset: StyleDataset, trigger: str) -> list[str]:
    """Of each picture of `_training_latents`."""
    return [content_of(picture.caption, picture.subset, trigger) for picture in _style_pictures(dataset)]


def _style_pictures(dataset: StyleDataset) -> list[Picture]:
    return [picture for picture in dataset.pictures if not picture.subset.is_reg][:STATISTICS_PICTURES]


def slot_words_for(museum: Museum, style: StyleData, vectors: int) -> tuple[str, ...]:
    """The slot words of a new style; the museum is not changed.

    Raises:
        ConfigError: the trigger is not possible.
    """
    ledger = museum.ledger
    taken = [word for record in ledger.styles for word in record.reserved_words]
    trigger = style.trigger or "auto"
    return choose_words(museum.base, trigger, vectors, taken, ledger.museum_id, ledger.retired_words)


def open_slot(museum: Museum, name: str, words: tuple[str, ...], init: str) -> None:
    """Open the slot of a style at its words, one token each."""
    museum.slots.open(name, words, tuple(single_token(museum.base, word) for word in words), init)


def _training_latents(room: Classroom, dataset: StyleDataset) -> tuple[Tensor, ...]:
    if room.run.training.cache_latents or room.run.training.cache_latents_to_disk:
        visible = room.accelerator.is_local_main_process
        with tqdm(desc="latents", leave=False, disable=not visible) as progress:

            def show(ready: int, total: int) -> None:
                progress.total = total
                progress.update(ready - progress.n)

            room.cache.prepare(dataset, show)
        room.museum.base.put_vae_away()
    return tuple(room.cache.latents([picture], [False])[0] for picture in _style_pictures(dataset))


def latent_cache(run: RunConfig, museum: Museum, *, read_only: bool = False) -> LatentCache:
    """The cache of this run: in memory always, on disk if asked for; with `read_only` nothing is written there."""
    folder = latents_folder(run.output) if run.training.cache_latents_to_disk else None
    encode = partial(encode_pictures, museum.base)
    return LatentCache(
        encode,
        vae_fingerprint=museum.base.vae_fingerprint,
        folder=folder,
        batch_size=run.training.vae_batch_size,
        read_only=read_only,
    )
