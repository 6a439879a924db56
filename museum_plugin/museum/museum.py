"""The museum in memory: shared LoRA and slots on a frozen base, and the record of what was taught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.ledger import Ledger
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.slots import Slots


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
        if style is not None and style in self.slots.slots:
            return self.slots.slots[style].phrase
        return next((record.trigger for record in self.ledger.styles if record.name == style), "")

    def styles(self) -> tuple[str, ...]:
        """Names of the taught styles, in order; without the one that is open."""
        return tuple(record.name for record in self.ledger.styles)

    def open_parameters(self, style: str | None) -> list[nn.Parameter]:
        """The vectors of a style's slot while it is open."""
        if style is None or style not in self.slots.slots:
            return []
        return [v for v in self.slots.slots[style].vectors if isinstance(v, nn.Parameter)]

    def is_finite(self) -> bool:
        """Whether every number of LoRA and slots is finite."""
        slot_vectors = (v for slot in self.slots.slots.values() for v in slot.vectors)
        return all(bool(torch.isfinite(v).all()) for v in (*self.network.parameters(), *slot_vectors))
