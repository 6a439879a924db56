"""Slots: the learned token embeddings of each style, put in place of the embeddings of its slot words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from museum_plugin.base.encode import token_embedding
from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


@dataclass(frozen=True)
class Slot:
    """The embeddings of one style."""

    style: str
    words: tuple[str, ...]
    token_ids: tuple[int, ...]
    """One token for each vector."""
    vectors: tuple[Tensor, ...]
    """(n, d) for each text encoder; trained only while the slot is open."""

    @property
    def is_open(self) -> bool:
        """Whether its vectors are trained."""
        return any(vector.requires_grad for vector in self.vectors)

    @property
    def phrase(self) -> str:
        """What the user types."""
        return " ".join(self.words)


class Slots:
    """All slots of a museum. The base's embedding table itself is never written."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._tables = [token_embedding(encoder) for encoder in base.text_encoders]
        self.slots: dict[str, Slot] = {}
        self.base_rows: dict[str, tuple[Tensor, ...]] = {}
        """Style -> (n, d) float32 for each text encoder: the base's own embeddings of the style's words."""
        self.enabled = True
        self._plain: Tensor | None = None

    def add(self, slot: Slot, base_rows: tuple[Tensor, ...] | None = None) -> None:
        """Put a closed slot in place.

        Args:
            base_rows: as they were kept; None takes them from the base.
        """
        self.slots[slot.style] = slot
        self.base_rows[slot.style] = base_rows or self._rows(slot.token_ids)

    def open(self, style: str, words: tuple[str, ...], token_ids: tuple[int, ...], init: str) -> Slot:
        """Open a slot whose vectors can be trained.

        Args:
            init: "own" starts from the direction of the slot words' own embeddings, so that no two styles start
                alike, at the length that the ordinary word "style" has, since rare words may be hardly trained; any
                other word starts from that word's embedding (the mean of its tokens).
        Raises:
            ConfigError: `init` has no token.
        """
        vectors = []
        for tokenizer, table in zip(self._base.tokenizers, self._tables, strict=True):
            if init == "own":
                start = F.normalize(table.weight[list(token_ids)].float(), dim=1) * _ordinary_length(tokenizer, table)
            else:
                ids = tokenizer(init, add_special_tokens=False).input_ids
                if not ids:
                    raise ConfigError(f'slot_init: found {init!r}, allowed: an ordinary word, or "own"')
                start = table.weight[ids].mean(dim=0, keepdim=True).expand(len(token_ids), -1)
            vectors.append(nn.Parameter(start.detach().float().clone()))
        slot = Slot(style, words, token_ids, tuple(vectors))
        self.add(slot)
        return slot

    def _rows(self, token_ids: tuple[int, ...]) -> tuple[Tensor, ...]:
        tables = self._base.exact_words or tuple(table.weight for table in self._tables)
        return tuple(table[list(token_ids)].detach().float().cpu() for table in tables)

    def close(self, style: str) -> Slot:
        """Freeze a slot: from now on its numbers never change."""
        slot = self.slots[style]
        closed = Slot(slot.style, slot.words, slot.token_ids, tuple(v.detach().clone() for v in slot.vectors))
        self.slots[style] = closed
        return closed

    @contextmanager
    def attached(self) -> Iterator[int]:
        """While inside, the text encoders see the slots' vectors at the slot words.

        Yields:
            how many embedding tables were attached.
        """
        with ExitStack() as stack:
            for encoder, table in enumerate(self._tables):
                handle = table.register_forward_hook(self._hook(encoder))
                stack.callback(handle.remove)
            yield len(self._tables)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """While inside, all words are those of the base."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    @contextmanager
    def plain(self, prompts: Sequence[bool]) -> Iterator[None]:
        """While inside, the marked prompts of a batch have the base's words, as in a client that knows no slots.

        Args:
            prompts: one mark for each prompt; prompts of several chunks have as many rows of ids in a batch.
        """
        before, self._plain = self._plain, torch.tensor(list(prompts), dtype=torch.bool)
        try:
            yield
        finally:
            self._plain = before

    def learned_in(self, ids: Tensor) -> list[bool]:
        """Whether each row of ids (B, L) holds a word of a slot that is open."""
        learned = [i for slot in self.slots.values() if slot.is_open for i in slot.token_ids] if self.enabled else []
        found: list[bool] = torch.isin(ids, torch.tensor(learned, dtype=ids.dtype)).any(dim=1).tolist()
        return found

    def _hook(self, encoder: int) -> Callable[..., Tensor | None]:
        def put_vectors(table: nn.Embedding, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            slots = [slot for slot in self.slots.values() if _is_in(slot, inputs[0])] if self.enabled else []
            if not slots:
                return None
            rows = torch.full((table.num_embeddings,), -1, dtype=torch.long)
            rows[[i for slot in slots for i in slot.token_ids]] = torch.arange(sum(len(s.token_ids) for s in slots))
            place = rows.to(inputs[0].device)[inputs[0]]
            if self._plain is not None and self._plain.any():
                marks = self._plain.repeat_interleave(len(place) // len(self._plain)).to(place.device)
                place = place.masked_fill(marks[:, None], -1)
            vectors = torch.cat([slot.vectors[encoder] for slot in slots]).to(output)
            return torch.where((place >= 0)[..., None], vectors[place.clamp(min=0)], output)

        return put_vectors


def _is_in(slot: Slot, ids: Tensor) -> bool:
    return bool(torch.isin(ids, torch.tensor(slot.token_ids, device=ids.device)).any())


def _ordinary_length(tokenizer: CLIPTokenizer, table: nn.Embedding) -> Tensor:
    ids = tokenizer("style", add_special_tokens=False).input_ids
    return table.weight[ids].float().norm(dim=1).mean()
