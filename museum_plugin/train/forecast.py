"""What a run will need of a card's memory, said before it starts. A forecast, never a measurement.

Weights, LoRA and what the method keeps are counted from their shapes; the state of the optimizer by asking it; the
peak of a step by running it without numbers (`dry_run.py`). Two things are not known there and are set: `OUTSIDE` and
`GAPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch

from museum_plugin.base.folder import BaseOutline, EmptyNetworks
from museum_plugin.base.frozen import tensors_of
from museum_plugin.base.live_bytes import own_bytes
from museum_plugin.base.load import BaseModel
from museum_plugin.base.swap import block_bytes, bytes_on_card, fewest_blocks, swappable
from museum_plugin.base.vae_memory import smallest_encoding
from museum_plugin.config.schema import BaseConfig, RunConfig
from museum_plugin.museum.ledger import Ledger
from museum_plugin.train.dry_run import DryRun, Subject, laid_out_unet
from museum_plugin.train.optimizer_memory import optimizer_bytes
from museum_plugin.train.parameter_groups import parameter_groups
from museum_plugin.train.plan import PlannedStyle

_Found = TypeVar("_Found")
GIB = 2**30
OUTSIDE = GIB // 2
"""Bytes for the CUDA context and the workspaces of its libraries. Set, not measured."""
GAPS = 0.05
"""Share of what a step holds for a while that the allocator needs besides, between its blocks. Set, not measured."""
DESKTOP = GIB // 5
"""Bytes of a card that are left to the screen."""


@dataclass(frozen=True)
class Forecast:
    """Bytes on the card, part by part."""

    unet: int
    """Its frozen weights, as far as they are there at once."""
    text: int
    """Frozen text encoders: they stay, since a slot is learned through them."""
    vae: int
    """0 where latents are cached: then it leaves the card before the first step."""
    trained: int
    """LoRA and slot."""
    optimizer: int
    kept: int
    """What the method holds old styles by."""
    step: int
    """Activations and gradients at the peak of a step, the bank's pictures included."""
    drawing: int
    """One step of the sampler while the bank is drawn or the museum is judged, besides what is held."""
    encoding: int
    """The VAE with its layers while pictures are encoded, besides what is held."""

    @property
    def held(self) -> int:
        """What is there all the time."""
        return self.unet + self.text + self.vae + self.trained + self.optimizer + self.kept

    @property
    def training(self) -> int:
        """At the peak of a step."""
        return self.held + round(self.step * (1 + GAPS)) + OUTSIDE

    @property
    def between(self) -> int:
        """At the peak of what is done before and between steps: encoding, drawing."""
        encoding = self.unet + self.text + self.trained + round(self.encoding * (1 + GAPS))
        return max(encoding, self.held + round(self.drawing * (1 + GAPS))) + OUTSIDE

    @property
    def total(self) -> int:
        """At the peak of the run."""
        return max(self.training, self.between)

    def fits(self, card: int) -> bool:
        """Whether a card of so many bytes is enough, the screen's share left free."""
        return self.total <= card - DESKTOP

    def parts(self) -> dict[str, int]:
        """Field -> bytes."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


def subject_of(run: RunConfig, plans: Sequence[PlannedStyle], ledger: Ledger | None) -> Subject | None:
    """What the steps of a run are about; None where no style has pictures.

    Args:
        plans: of the styles that will be taught.
        ledger: of the museum that grows; None: it begins.
    """
    plans = [plan for plan in plans if plan.dataset.batches_per_epoch]
    if not plans:
        return None
    batches = [plan.dataset.largest_batch for plan in plans]
    size, pictures = max(batches, key=lambda batch: batch[0][0] * batch[0][1] * batch[1])
    width, height = plans[0].dataset.pictures[0].placement.bucket
    return Subject(
        size=size,
        pictures=pictures,
        bank_size=(run.preview.width or width, run.preview.height or height),
        words=plans[0].words,
        ledger=ledger,
    )


def empty_copies(base: BaseModel) -> EmptyNetworks:
    """The networks of a base without numbers and without memory."""
    with torch.device("meta"):
        unet, vae = (type(part).from_config(part.config) for part in (base.unet, base.vae))
        texts: list[Any] = [type(encoder)(encoder.config) for encoder in base.text_encoders]
    return EmptyNetworks(base.family, unet, tuple(texts), vae)


class Forecaster:
    """Forecasts of one run and its variants; what they share is found out once."""

    def __init__(self, outline: BaseOutline, networks: EmptyNetworks, subject: Subject) -> None:
        self._outline, self._networks, self._subject = outline, networks, subject
        self._found: dict[str, Any] = {}

    def _once(self, find: Callable[[], _Found], *key: object) -> _Found:
        """What was found for this key."""
        name = repr(key)
        if name not in self._found:
            self._found[name] = find()
        found: _Found = self._found[name]
        return found

    def forecast(self, run: RunConfig) -> Forecast:
        """What a run needs.

        Raises:
            ConfigError: network_args do not fit the base.
        """
        largest = max(dataset.batch_size for style in run.styles for dataset in style.datasets)
        subject = replace(self._subject, pictures=min(self._subject.pictures, largest))
        dry = self._dry(run, subject)
        base, museum = dry.museum.base, dry.museum
        vae = own_bytes(base.vae.parameters())
        cached = run.training.cache_latents or run.training.cache_latents_to_disk
        trained = [vector for slot in museum.slots.slots.values() for vector in slot.vectors]
        unet, sizes = self._unet(run)
        return Forecast(
            unet=unet - sum(sizes) + bytes_on_card(sizes, run.base.swapped),
            text=sum(own_bytes(tensors_of(encoder)) for encoder in base.text_encoders),
            vae=0 if cached else vae,
            trained=own_bytes([*museum.network.parameters(), *trained]),
            optimizer=self._optimizer(run, dry),
            kept=dry.kept,
            step=self._step(run, dry),
            drawing=self._drawing(run, dry) if subject.words else 0,
            encoding=vae * cached + smallest_encoding(subject.size, base.vae.dtype),
        )

    @property
    def swappable_blocks(self) -> int:
        """Blocks that could wait in host memory."""
        return len(swappable(self._networks.unet))

    def blocks_to_swap(self, run: RunConfig, card: int) -> int | None:
        """The least number of blocks that must wait in host memory so that a run fits a card of so many bytes.

        None where no number does.
        """
        _, sizes = self._unet(run)
        whole = self.forecast(replace(run, base=replace(run.base, blocks_to_swap=0)))
        return fewest_blocks(sizes, card - DESKTOP - (whole.total - sum(sizes)))

    def _dry(self, run: RunConfig, subject: Subject) -> DryRun:
        """With weights as they are computed with: stored small or swapped, a step keeps a little less of them."""
        usual = BaseConfig(run.base.path, mixed_precision=run.base.mixed_precision)
        plain = replace(
            run, base=replace(usual, clip_skip=run.base.clip_skip, max_token_length=run.base.max_token_length)
        )

        def make() -> DryRun:
            return DryRun(plain, self._outline, self._networks, subject)

        return self._once(make, "dry", plain.base, subject, run.network, run.method, run.replay, run.slot, run.loss)

    def _unet(self, run: RunConfig) -> tuple[int, list[int]]:
        """Bytes of the U-Net's weights as they are stored, and of those in each block that can be swapped."""

        def find() -> tuple[int, list[int]]:
            unet = laid_out_unet(self._networks, run.base)
            return own_bytes(tensors_of(unet)), [block_bytes(block) for block in swappable(unet)]

        return self._once(find, "unet", run.base.mixed_precision, run.base.precision)

    def _step(self, run: RunConfig, dry: DryRun) -> int:
        asked = run.base
        how = (asked.gradient_checkpointing, asked.cpu_offload_checkpointing)
        most = self._once(lambda: dry.step(asked), "step", how, id(dry))
        if run.training.gradient_accumulation_steps > 1:  # gradients are there from the start
            most += own_bytes(p for p in dry.museum.network.parameters() if p.requires_grad)
        return most

    def _drawing(self, run: RunConfig, dry: DryRun) -> int:
        return self._once(lambda: dry.drawing(1), "drawing", run.base.mixed_precision, run.network, dry.subject)

    def _optimizer(self, run: RunConfig, dry: DryRun) -> int:
        def find() -> int:
            groups = parameter_groups(run, dry.museum, dry.style)
            return optimizer_bytes(run.optimizer, [p for group in groups if group["lr"] > 0 for p in group["params"]])

        return self._once(find, "optimizer", run.optimizer, run.network, run.slot)
