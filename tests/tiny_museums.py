"""Museums on the tiny base with random numbers, as if styles had been taught."""

from __future__ import annotations

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.museum.ledger import StyleRecord
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.store import new_museum
from museum_plugin.museum.triggers import single_token
from tests.tiny_models import TINY_SLOT_WORDS

WORDS = dict(zip(("ink", "neon", "dots"), TINY_SLOT_WORDS, strict=True))
"""Style -> its slot word."""


def tiny_museum(base: BaseModel, *styles: str, rank: int = 2, with_text_encoder: bool = False) -> Museum:
    """A museum that knows styles; without any it changes nothing yet."""
    museum = new_museum(base, rank=rank, alpha=1.0, seed=1, with_text_encoder=with_text_encoder)
    rng = torch.Generator().manual_seed(0)
    for style in styles:
        token = single_token(base, WORDS[style])
        museum.slots.add(Slot(style, (WORDS[style],), (token,), (torch.randn(1, 16, generator=rng),)))
        museum.ledger = museum.ledger.with_style(_record(style, token))
    if styles:
        shake(museum.network, rng)
    return museum


@torch.no_grad()
def shake(network: LoRANetwork, rng: torch.Generator, size: float = 0.3) -> None:
    """Move every number of a LoRA."""
    for parameter in network.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=size)


def _record(style: str, token: int) -> StyleRecord:
    word = WORDS[style]
    return StyleRecord(
        style, word, (word,), (token,), "2026-01-02T03:04:05+00:00", 5, 4, f"print {style}", "museum", {}, {}
    )


@torch.no_grad()
def prediction(base: BaseModel, prompt: str = "a red cat", seed: int = 5) -> Tensor:
    """What the base predicts as it is now, (1, 4, 8, 8)."""
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Denoiser(base).predict(noisy, torch.tensor([600]), encode_prompts(base, [prompt]))


def hooks(base: BaseModel) -> int:
    """How many hooks are attached to all modules of a base."""
    models = (base.unet, base.vae, *base.text_encoders)
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for model in models for module in model.modules()
    )
