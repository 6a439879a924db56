"""How prompts become text states: the same for training, the bank and every picture that is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from museum_plugin.base.emphasis import weighted_parts
from museum_plugin.config.schema import BaseConfig

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


@dataclass(frozen=True)
class TextEncoding:
    """What changes the text states of a prompt."""

    clip_skip: int = 1
    """1 = the text encoder's last layer, 2 = the one before."""
    max_token_length: int = 75
    """Tokens of a prompt that are read, in chunks of 75."""
    weighted: bool = False
    """Whether `(word:1.2)` is a weight."""

    @classmethod
    def of(cls, base: BaseConfig) -> TextEncoding:
        """As a run asks for it."""
        return cls(base.clip_skip, base.max_token_length, base.weighted_captions)

    def to_dict(self) -> dict[str, Any]:
        """By flag name, for the ledger; of the newer settings only what is not at its default."""
        found: dict[str, Any] = {"clip_skip": self.clip_skip}
        if self.max_token_length != TextEncoding.max_token_length:
            found["max_token_length"] = self.max_token_length
        return {**found, "weighted_captions": True} if self.weighted else found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextEncoding:
        """The inverse of `to_dict`; what is missing is at its default, other names do not count."""
        return cls(
            clip_skip=values.get("clip_skip", cls.clip_skip),
            max_token_length=values.get("max_token_length", cls.max_token_length),
            weighted=values.get("weighted_captions", cls.weighted),
        )


def count_tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str], text: TextEncoding) -> list[int]:
    """How many tokens each prompt has, without those at begin and end; those of weights do not count."""
    parts = [[part for part, _ in weighted_parts(prompt)] if text.weighted else [prompt] for prompt in prompts]
    return [
        sum(len(tokenizer(part, add_special_tokens=False, verbose=False).input_ids) for part in prompt)
        for prompt in parts
    ]
