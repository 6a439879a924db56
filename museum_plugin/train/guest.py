"""One style taught inside a loop that is not ours: its bank, its terms, its record. The loop itself is the host's."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_pictures, encode_prompts
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.config.schema import RunConfig
from museum_plugin.data.guest_pictures import GuestPictures
from museum_plugin.errors import ConfigError, DataError
from museum_plugin.judge.signature import signature
from museum_plugin.methods import build_terms
from museum_plugin.methods.bank import ReplayBatch
from museum_plugin.methods.material import Material
from museum_plugin.methods.method import Step, Term
from museum_plugin.museum.file import FileForm, write_museum
from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.store import content_of
from museum_plugin.museum.training_strings import DATA, data_facts
from museum_plugin.train.exhibition import with_exhibition
from museum_plugin.train.finish import judge_newest, publish, refusal, what_the_gate_says
from museum_plugin.train.museum_file import MuseumFile
from museum_plugin.train.previous import Shown, draw_material, style_start
from museum_plugin.train.published import publish_result
from museum_plugin.train.record import new_record
from museum_plugin.train.setup import (
    STATISTICS_PICTURES,
    open_slot,
    plan_in,
    slot_words_for,
)
from museum_plugin.train.step import Rng, penalties

log = logging.getLogger("museum")


@dataclass(frozen=True)
class Seen:
    """What the host's own forward pass of the U-Net was given and gave."""

    noisy: Tensor
    """(B, C, h, w)"""
    t: Tensor
    """(B,)"""
    pred: Tensor
    """(B, C, h, w)"""


@dataclass(frozen=True)
class GuestStyle:
    """The style that the host teaches."""

    run: RunConfig
    museum: Museum
    """Attached."""
    settings: dict[str, Any]
    """What the ledger remembers of the run, by flag name."""
    pictures: GuestPictures
    captions: tuple[str, ...]
    """What the pictures show, without trigger."""
    latents: tuple[Tensor, ...]
    """(C, h, w) of each picture (of the first 256), for the style's statistics."""
    plan: SamplingPlan
    """How verdicts of this style are drawn."""
    terms: dict[str, tuple[Term, float]]
    material: Material

    @property
    def name(self) -> str:
        return str(self.run.styles[0].name)

    def penalties(self, seen: Seen, rng: Rng, number: int, *, checkpointing: bool) -> dict[str, Tensor]:
        """The weighted terms of one micro-step, by name; the bank's batch has a pass of its own.

        Args:
            number: of the micro-step, counted from 0.
            checkpointing: the U-Net keeps no activations; some ways of doing so ask that an input has a gradient.
        """
        museum, bank, denoiser = self.museum, self.material.bank, Denoiser(self.museum.base)
        replay, replay_pred, features = None, None, list[Tensor]()
        count = self.run.replay.anchors_at(len(seen.noisy), number)
        if bank is not None and count:
            replay = bank.batch(count, rng.python, museum.base.device)
            noisy = replay.noisy.requires_grad_(checkpointing)
            with denoiser.watch(self.material.watched) as features:
                replay_pred = denoiser.predict(noisy, replay.t, self._states(replay))
        step = Step(
            t=seen.t,
            alpha_bar=denoiser.alpha_bar(seen.t),
            prediction_type=denoiser.prediction_type,
            pred_x0=denoiser.predict_x0(seen.noisy.float(), seen.pred.float(), seen.t),
            replay=replay,
            replay_pred=replay_pred,
            replay_alpha_bar=denoiser.alpha_bar(replay.t) if replay else None,
            features=tuple(features),
            bank_weight=self.run.replay.weight_at(len(seen.noisy)),
        )
        return penalties(museum, step, self.terms)

    def write_between(self, path: Path, steps: int, form: FileForm) -> None:
        """The museum in the middle of the style as a file of its own; the museum that grows is not touched.

        Raises:
            TrainingError: a number is not finite; nothing is written.
            OutputError: the file cannot be written.
        """
        ledger = self.museum.ledger
        self.museum.ledger = ledger.with_style(self.record(steps))
        try:
            write_museum(path, content_of(self.museum), keep_history=0, form=form)
        finally:
            self.museum.ledger = ledger

    def finish(self, file: MuseumFile, steps: int) -> Path:
        """Close the slot, judge all styles, write the museum that grows; the file that was there goes to its history.

        What was learned is saved whatever becomes of the verdict: where it falls short of the gate, beside the museum.

        Returns:
            where the museum was written.
        Raises:
            TrainingError: a number is not finite; the file is untouched.
            OutputError: the file cannot be written; what was there is untouched.
            GateError: old styles or prompts without a trigger lost too much; the file is untouched.
        """
        museum = self.museum
        for term, _ in self.terms.values():
            term.end_style(museum)
        museum.slots.close(self.name)
        record = replace(self.record(steps), signature=signature(self.latents).to_dict())
        museum.ledger = with_exhibition(museum.ledger.with_style(record), self.run, self.captions, self.plan)
        verdict, grid, against, before = None, None, list[str](), file.path
        try:
            with torch.no_grad():
                verdict = judge_newest(museum)
            against = what_the_gate_says(museum, verdict, self.run.gate)
        except Exception as error:
            log.warning("the styles could not be judged (%s); the museum is saved without scores", error)
        finally:  # also when stopped by hand
            content = content_of(museum)
            path = (
                file.save_beside(content) if against else file.save(content, keep_history=self.run.output.keep_history)
            )
        if verdict is not None:
            grid, *_ = publish(museum, self.run.output, verdict)
            if against:
                raise refusal(museum, before, path, grid, against)
        publish_result(self.run, museum, path, grid)
        return path

    def record(self, steps: int) -> StyleRecord:
        """What the ledger remembers of the style after so many steps, without scores."""
        slot = self.museum.slots.slots[self.name]
        extra = {"captions": list(self.captions), DATA: self._data()}
        return new_record(slot, self.run.method.name, self.terms, self.pictures, self.settings, steps, extra)

    def _data(self) -> dict[str, Any]:
        return data_facts(
            self.pictures.sizes,
            reg_images=self.pictures.reg_images,
            batches_per_epoch=self.pictures.batches_per_epoch,
            batches_per_step=self.run.training.gradient_accumulation_steps * PartialState().num_processes,
            datasets=[],
        )

    def _states(self, replay: ReplayBatch) -> TextStates:
        if not self.run.network.train_text_encoder:
            return self.material.states.states(replay.prompts, replay.plain)
        with self.museum.slots.plain(replay.plain):
            return encode_prompts(self.museum.base, replay.prompts, TextEncoding.of(self.run.base))


def open_guest_slot(museum: Museum, run: RunConfig, path: Path) -> None:
    """Open the slot of the run's style.

    Args:
        path: of the museum, for messages.
    Raises:
        ConfigError: the museum knows the style, or the trigger is not possible.
    """
    style = run.styles[0]
    name = str(style.name)
    if name in museum.styles():
        raise ConfigError(
            f"style: {name!r} is in {path} already; give this one another name, or go back with "
            f"`python -m museum_plugin rollback {path}`"
        )
    open_slot(museum, name, slot_words_for(museum, style, run.slot.vectors), run.slot.init)
    log.info("style %r is taught with the trigger %r, which goes into every caption", name, museum.phrase(name))


def begin_guest_style(
    run: RunConfig,
    museum: Museum,
    pictures: GuestPictures,
    settings: dict[str, Any],
    *,
    visible: bool,
) -> GuestStyle:
    """Draw the bank and begin the terms. The style's slot is open, its numbers and the LoRA's are untrained.

    Args:
        museum: attached, on the device where the host trains.
        visible: show how far the drawing is.
    Raises:
        ConfigError: the method is not possible.
        DataError: there is no picture, or one cannot be read.
    """
    name, base = str(run.styles[0].name), museum.base
    if not pictures.pictures:
        raise DataError(f"style {name!r}: the trainer has shown no training picture; nothing can be taught")
    captions = pictures.contents(museum.phrase(name))
    factor = base.vae.config.scaling_factor
    latents = tuple(
        picture.latent(lambda images: encode_pictures(base, images), factor)
        for picture in pictures.pictures[:STATISTICS_PICTURES]
    )
    plan = plan_in(run, base, pictures.pictures[0].bucket)
    terms = build_terms(run.method.name, run.method.weights)
    shown = Shown(name, captions, tuple(zip(latents, pictures.each_content(museum.phrase(name)), strict=False)))
    material = draw_material(run, museum, shown, plan, terms, visible=visible)
    start = style_start(museum, material, latents)
    for term, _ in terms.values():
        term.begin_style(start)
    return GuestStyle(run, museum, settings, pictures, captions, latents, plan, terms, material)
