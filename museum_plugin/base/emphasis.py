"""Prompts with weights, `(word:1.2)`, `(word)`, `[word]`, as the WebUIs and sd-scripts read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_FACTORS = {"(": 1.1, "[": 1 / 1.1}
"""What a pair of brackets multiplies the weight by."""
_PIECE = re.compile(
    r"\\(?P<literal>[()\[\]\\]?)|(?P<open>[(\[])|:(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\)|(?P<close>[)\]])"
    r"|(?P<text>[^\\()\[\]:]+|:)"
)


def weighted_parts(prompt: str) -> list[tuple[str, float]]:
    r"""The parts of a prompt with their weights; neighbors of one weight are one part.

    `(x)` is 1.1, `(x:1.5)` 1.5, `[x]` 1/1.1; they multiply. `\(` and the like are literal. What is opened and not
    closed goes to the end; what is closed and was not opened is text. Source: sd-scripts.

    Returns:
        [(text, weight), ...]; empty for an empty prompt.
    """
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for piece in _PIECE.finditer(prompt):
        kind, found = piece.lastgroup, piece.group()
        bracket = "[" if found == "]" else "("
        if kind == "open":
            opened[found].append(len(texts))
        elif kind in ("weight", "close") and opened[bracket]:
            multiply(opened[bracket].pop(), float(piece["weight"]) if kind == "weight" else _FACTORS[bracket])
        else:
            texts.append(piece["literal"] if kind == "literal" else found)
            weights.append(1.0)
    for bracket, starts in opened.items():
        for start in starts:
            multiply(start, _FACTORS[bracket])
    return _merged(texts, weights)


def _merged(texts: list[str], weights: list[float]) -> list[tuple[str, float]]:
    parts: list[tuple[str, float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if parts and parts[-1][1] == weight:
            parts[-1] = (parts[-1][0] + text, weight)
        else:
            parts.append((text, weight))
    return parts


def weighted_tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str], room: int) -> tuple[Tensor, Tensor]:
    """Ids of prompts, and the weight of each; start, end and padding weigh 1. Source: sd-scripts.

    Args:
        room: tokens between start and end; what is longer is cut.
    Returns:
        (B, room + 2) ids, (B, room + 2) float32 weights.
    """
    rows, weights = [], []
    for prompt in prompts:
        row: list[int] = []
        own: list[float] = []
        for text, weight in weighted_parts(prompt):
            ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
            row += ids
            own += [weight] * len(ids)
        row, own = row[:room], own[:room]
        padding = [tokenizer.pad_token_id] * (room - len(row))
        rows.append([tokenizer.bos_token_id, *row, tokenizer.eos_token_id, *padding])
        weights.append([1.0, *own, 1.0, *[1.0] * (room - len(own))])
    return torch.tensor(rows), torch.tensor(weights)


def emphasize(states: Tensor, weights: Tensor) -> Tensor:
    """Text states times the weights of their tokens, y = w x. Source: sd-scripts' trainer, which does not rescale them.

    Args:
        states: (B, L, D).
        weights: (B, L).
    Returns:
        (B, L, D) in the type of `states`.
    """
    return states * weights.to(states)[..., None]
