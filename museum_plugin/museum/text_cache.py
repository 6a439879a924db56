"""Text states that no training changes, computed once: those of prompts without a slot that is learned."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import torch

from museum_plugin.base.encode import encode_prompts, token_ids
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.museum.museum import Museum

_PROMPTS = 512
"""Different prompts of training that are kept; shuffled captions have no end."""
_Key = tuple[str, bool]


class StateCache:
    """Text states while the text encoder is frozen.

    Every prompt is encoded on its own, so that its states do not depend on what was asked before: a resumed run sees
    the same bits.
    """

    def __init__(self, museum: Museum, text: TextEncoding) -> None:
        self._museum = museum
        self.text = text
        self._states: dict[bool, dict[_Key, TextStates]] = {True: {}, False: {}}

    @torch.no_grad()
    def states(self, prompts: Sequence[str], plain: Sequence[bool] = ()) -> TextStates:
        """Of B prompts; those of the bare base apart from those of the museum.

        Args:
            prompts: none with a slot that is learned.
            plain: which prompts are read without slots; empty: none.
        """
        known = self._states[self._museum.network.enabled]
        asked = list(zip(prompts, plain or [False] * len(prompts), strict=True))
        for key in asked:
            if key not in known:
                known[key] = self._encoded([key])
        return TextStates.cat([known[key] for key in asked])

    def training_states(self, prompts: Sequence[str], plain: Sequence[bool]) -> TextStates:
        """Of B prompts in a training step: those with a slot that is learned go through the text encoder, the others
        once in a run.

        Args:
            plain: which prompts are read without slots.
        """
        asked = list(zip(prompts, plain, strict=True))
        learned = [
            marked and not is_plain for marked, (_, is_plain) in zip(self._with_slot(prompts), asked, strict=True)
        ]
        through = iter(self._encoded(list(compress(asked, learned))).rows()) if any(learned) else iter(())
        return TextStates.cat(
            [next(through) if is_learned else self._kept(key) for key, is_learned in zip(asked, learned, strict=True)]
        )

    def _kept(self, key: _Key) -> TextStates:
        known = self._states[self._museum.network.enabled]
        if key in known or len(known) < _PROMPTS:
            return self.states([key[0]], [key[1]])
        with torch.no_grad():
            return self._encoded([key])

    def _encoded(self, keys: list[_Key]) -> TextStates:
        with self._museum.slots.plain([is_plain for _, is_plain in keys]):
            return encode_prompts(self._museum.base, [prompt for prompt, _ in keys], self.text)

    def _with_slot(self, prompts: Sequence[str]) -> list[bool]:
        """Which prompts hold a word whose vector is learned, in the part of them that is read."""
        ids, _ = token_ids(self._museum.base.tokenizers[0], prompts, self.text)
        return self._museum.slots.learned_in(ids)
