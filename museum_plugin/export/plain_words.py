"""The slots of a museum, learned by a LoRA of its text encoders: plain words then mean styles with no slot loaded.

What the text encoders make of a prompt with slots can be asked for at any time, so this needs no pictures and no U-Net,
and all styles are learned at once: none can be forgotten. Source: ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn

from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.data.captions import with_trigger
from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape

log = logging.getLogger("museum")
_WORD_END = "</w>"
_WORDS = 8
"""At most, of a prompt made of single words."""
_LITTLE = 0.3
_NOTHING = 1e-9
_MEASURED = 32
"""Prompts of each kind that the outcome is measured on."""


@dataclass(frozen=True)
class PlainPlan:
    """How the plain words are learned."""

    rank: int = 16
    steps: int = 800
    prompts: int = 8
    """Of each kind in a step: with a trigger, and without."""
    rate: float = 0.3
    """Learning rate times the width of the text encoder."""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PlainWords:
    """What was learned, and how well."""

    tensors: dict[str, Tensor]
    """Under kohya's names, without what a museum's own layers do. Layers beyond the one that is read are there and do
    nothing: diffusers wants the same rank and alpha in all layers of a text encoder."""
    reached: float
    """How much of the way from the plain word to its slot the text states go, 1 = all; below 0 they go astray."""
    drift: float
    """How far text states of prompts without a trigger move, as a share of that way."""


def learn_plain_words(
    museum: Museum,
    styles: Sequence[str],
    text: TextEncoding,
    plan: PlainPlan | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> PlainWords:
    """Teach the text encoders that the words of the slots mean what the slots do, and nothing else.

        loss = |T'(plain) - T(slot)|^2 + |T'(slot) - T(slot)|^2 + |T'(other) - T(other)|^2,

    T the text states of the museum, T' those with the new layers, each measured by |T(plain) - T(slot)|^2. Because of
    the second part a slot that is loaded all the same does no harm.

    Args:
        museum: attached; it is left as it was.
        styles: with slots; at least one.
        text: how the museum was taught to read prompts.
        progress: called after each step with the number of steps done.
    """
    plan, base = plan or PlainPlan(), museum.base
    keys = [key for key, _ in target_modules(base, with_text_encoder=True) if not key.startswith("lora_unet_")]
    shapes = dict.fromkeys(keys, LayerShape(plan.rank, float(plan.rank)))
    with _in_float32(base), torch.enable_grad():
        network = LoRANetwork(
            base, rank=plan.rank, alpha=plan.rank, seed=plan.seed, with_text_encoder=True, shapes=shapes
        )
        lesson = _Lesson(museum, network, text, Random(plan.seed), tuple(styles))
        if not lesson.has_a_way:
            return PlainWords(network.tensors(), 1.0, 0.0)
        log.info("plain words: the text encoder learns %s in %d steps", ", ".join(styles), plan.steps)
        layers = [[layer.down, layer.up] for layer in network.layers.values()]
        optimizer = torch.optim.Adam(
            [{"params": pair, "lr": plan.rate / min(pair[0].shape[1], len(pair[1]))} for pair in layers]
        )
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, plan.steps)
        parameters = [*network.parameters()]
        with network.attached():
            for step in range(plan.steps):
                errors = lesson.errors(plan.prompts)
                gradients = torch.autograd.grad(torch.stack(errors).sum(), parameters, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step()
                schedule.step()
                progress(step + 1)
            with torch.no_grad():
                plain, _, other = lesson.errors(_MEASURED)
    reached, drift = 1 - plain.sqrt().item(), other.sqrt().item()
    log.info(
        "plain words: %.0f %% of the way to their slots; other prompts move by %.0f %%", 100 * reached, 100 * drift
    )
    if reached < _LITTLE:
        log.warning("plain words: they hardly mean their styles; publish side-cars as well")
    return PlainWords(network.tensors(), reached, drift)


class _Lesson:
    """What the new layers still do wrong, on prompts drawn anew each time."""

    def __init__(
        self, museum: Museum, network: LoRANetwork, text: TextEncoding, rng: Random, styles: tuple[str, ...]
    ) -> None:
        self._museum, self._network, self._text, self._rng = museum, network, text, rng
        self._phrases = [museum.phrase(style) for style in styles]
        self._captions = [text for record in museum.ledger.styles for text in record.extra.get("captions", [])]
        taken = {token for slot in museum.slots.slots.values() for token in slot.token_ids}
        vocabulary = museum.base.tokenizers[0].get_vocab()
        words = (word.removesuffix(_WORD_END) for word, token in vocabulary.items() if token not in taken)
        self._words = sorted(word for word in words if word.isascii() and word.isalpha())
        prompts = self._prompts(_MEASURED)[0]
        with torch.no_grad():
            slot, plain = self._teacher(prompts), self._teacher(prompts, plain=True)
        self._way = _differences(plain, slot)
        self.has_a_way = all(way > _NOTHING for way in self._way)
        """Whether the slots differ from their words at all."""

    def errors(self, count: int) -> list[Tensor]:
        """Of plain words, of slots, and of prompts without a trigger, as shares of the way from word to slot."""
        triggered, others = self._prompts(count)
        with torch.no_grad():
            wanted = self._teacher(triggered + others)
        marks = [True] * count + [False] * 2 * count
        with self._museum.slots.plain(marks):
            found = encode_prompts(self._museum.base, triggered + triggered + others, self._text)
        pairs = (
            (found[:count], wanted[:count]),
            (found[count : 2 * count], wanted[:count]),
            (found[2 * count :], wanted[count:]),
        )
        return [
            torch.stack([error / way for error, way in zip(_differences(*pair), self._way, strict=True)]).mean()
            for pair in pairs
        ]

    def _teacher(self, prompts: list[str], *, plain: bool = False) -> TextStates:
        before, self._network.enabled = self._network.enabled, False
        try:
            with self._museum.slots.plain([plain] * len(prompts)):
                return encode_prompts(self._museum.base, prompts, self._text)
        finally:
            self._network.enabled = before

    def _prompts(self, count: int) -> tuple[list[str], list[str]]:
        """With a trigger, wherever people put it, and without any."""
        triggered = []
        for _ in range(count):
            content, phrase = self._content(), self._rng.choice(self._phrases)
            forms = (
                with_trigger(content, phrase),
                f"{content}, {phrase}",
                f"{phrase}, {content}",
                f"{phrase} {content}",
            )
            triggered.append(self._rng.choice(forms))
        return triggered, [self._content() for _ in range(count)]

    def _content(self) -> str:
        """A caption that the museum remembers, or words of the vocabulary at random."""
        if self._captions and self._rng.random() < 0.5:
            return self._rng.choice(self._captions)
        return " ".join(self._rng.choices(self._words, k=self._rng.randint(0, _WORDS)))


def with_layers(lora: Mapping[str, Tensor], more: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A LoRA that does what two do together, exactly: where both change a module, their ranks stand side by side.

    Args:
        lora, more: of Linear layers where they meet, under kohya's names.
    """
    found = {**more, **lora}
    for key in {name.removesuffix(".alpha") for name in more if name.endswith(".alpha") and name in lora}:
        names = tensor_names(key)
        downs, ups, alphas = ([part[name] for part in (lora, more)] for name in names)
        scaled = [up * (alpha / len(down)) for down, up, alpha in zip(downs, ups, alphas, strict=True)]
        down, up = torch.cat(downs), torch.cat(scaled, dim=1)
        found |= dict(zip(names, (down, up, torch.tensor(float(len(down)))), strict=True))
    return found


def _differences(found: TextStates, wanted: TextStates) -> list[Tensor]:
    """Mean squared differences of the states, and of what is pooled where the family has it."""
    pairs = [(found.states, wanted.states)]
    if found.pooled is not None and wanted.pooled is not None:
        pairs.append((found.pooled, wanted.pooled))
    return [(a.float() - b.float()).square().mean() for a, b in pairs]


@contextmanager
def _in_float32(base: BaseModel) -> Iterator[None]:
    """While inside, text encoders are in float32; half precision comes back as it was, bit for bit."""
    before = [next(encoder.parameters()).dtype for encoder in base.text_encoders]
    try:
        for encoder in base.text_encoders:
            nn.Module.to(encoder, torch.float32)
        yield
    finally:
        for encoder, dtype in zip(base.text_encoders, before, strict=True):
            nn.Module.to(encoder, dtype)
