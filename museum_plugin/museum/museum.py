"""The museum in memory: shared LoRA and slots on a frozen base, and the record of what was taught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.slots import Slot, Slots


@dataclass(frozen=True)
class Snapshot:
    """The numbers of a museum at one moment; later training does not touch them."""

    lora: dict[str, Tensor]
    slots: dict[str, Slot]


class Museum:
    """Shared LoRA + slots + ledger on one base model."""

    def __init__(
        self,
        base: BaseModel,
        network: LoRANetwork,
        slots: Slots,
        ledger: Ledger,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Put the parts together; nothing acts on the base until `attached`.

        Args:
            metadata: strings of the user's own in the file's header; kept as they are.
        """
        self.base = base
        self.network = network
        self.slots = slots
        self.ledger = ledger
        self.metadata = dict(metadata or {})

    @contextmanager
    def attached(self) -> Iterator[Museum]:
        """While inside, the base model draws as this museum."""
        with self.network.attached(), self.slots.attached():
            yield self

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """While inside, the base model is bare: bit for bit what it is without a museum."""
        before, self.network.enabled = self.network.enabled, False
        try:
            with self.slots.disabled():
                yield
        finally:
            self.network.enabled = before

    def phrase(self, style: str | None) -> str:
        """What the user types for a style; "" for no style."""
        return self.slots.slots[style].phrase if style is not None and style in self.slots.slots else ""

    def styles(self) -> tuple[str, ...]:
        """Names of the taught styles, in order; without the one that is open."""
        return tuple(record.name for record in self.ledger.styles)

    def snapshot(self) -> Snapshot:
        """A copy of all numbers."""
        lora = {name: tensor.clone() for name, tensor in self.network.tensors().items()}
        slots = {
            name: Slot(s.style, s.words, s.token_ids, tuple(v.detach().clone() for v in s.vectors))
            for name, s in self.slots.slots.items()
        }
        return Snapshot(lora, slots)

    @contextmanager
    def using(self, snapshot: Snapshot) -> Iterator[None]:
        """While inside, the museum has the numbers of a snapshot; afterwards its own again.

        Not between a forward pass and its backward: the weights that autograd needs would be others.
        """
        now_lora = {name: tensor.clone() for name, tensor in self.network.tensors().items()}
        now_slots = dict(self.slots.slots)
        self.network.load_tensors(snapshot.lora)
        self.slots.slots = dict(snapshot.slots)
        try:
            yield
        finally:
            self.network.load_tensors(now_lora)
            self.slots.slots = now_slots

    def open_parameters(self, style: str | None) -> list[nn.Parameter]:
        """The vectors of a style's slot while it is open."""
        if style is None or style not in self.slots.slots:
            return []
        return [v for v in self.slots.slots[style].vectors if isinstance(v, nn.Parameter)]

    def is_finite(self) -> bool:
        """Whether every number of LoRA and slots is finite."""
        slot_vectors = (v for slot in self.slots.slots.values() for v in slot.vectors)
        return all(bool(torch.isfinite(v).all()) for v in (*self.network.parameters(), *slot_vectors))
