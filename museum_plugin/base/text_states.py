"""What a U-Net is told of a batch of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TextStates:
    """Prompts as a U-Net reads them: one row each."""

    states: Tensor
    """(B, L, D): what cross-attention looks at."""
    pooled: Tensor | None = None
    """(B, P): the whole prompt in one vector, where the family's U-Net takes it."""

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: slice) -> TextStates:
        """Some of the prompts."""
        return self._each(lambda tensor: tensor[rows])

    def rows(self) -> list[TextStates]:
        """Each prompt on its own."""
        return [self[i : i + 1] for i in range(len(self))]

    def repeated(self, count: int) -> TextStates:
        """One prompt, `count` times."""
        return self._each(lambda tensor: tensor.expand(count, *tensor.shape[1:]))

    def to(self, dtype: torch.dtype) -> TextStates:
        """The same in another type of number."""
        return self._each(lambda tensor: tensor.to(dtype))

    @staticmethod
    def cat(parts: Sequence[TextStates]) -> TextStates:
        """One after another; all of the same family."""
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return TextStates(torch.cat([part.states for part in parts]), torch.cat(pooled) if pooled else None)

    def _each(self, change: Callable[[Tensor], Tensor]) -> TextStates:
        return TextStates(change(self.states), None if self.pooled is None else change(self.pooled))
