"""ComfyUI's arithmetic on our exports: any weight of the text encoder, by name, + strength * scale * up @ down."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from museum_plugin.base.encode import token_embedding
from museum_plugin.museum.keys import kohya_key
from tests.clients.conftest import STYLES, Exhibit

PLAIN = ("", "a red cat", "two fish in snow")
TARGETS = ("comfyui", "webui")


@torch.no_grad()
def patched(exhibit: Exhibit, target: str, *, strength: float = 1.0, with_table: bool = True) -> list[nn.Module]:
    """The text encoders after all patches that have a place in them."""
    tensors = load_file(exhibit.lora(target))
    family, encoders = exhibit.base.family, copy.deepcopy(list(exhibit.base.text_encoders))
    for part, name, encoder in zip(family.text_parts, family.slot_encoders, encoders, strict=True):
        places = {kohya_key(part, path): module for path, module in encoder.named_modules()}
        if with_table:
            table = f"text_encoders.{name}.transformer.text_model.embeddings.token_embedding"
            places[table] = token_embedding(encoder)
        for key, module in places.items():
            if f"{key}.lora_up.weight" in tensors:
                add(module.weight, tensors, key, strength)
    return encoders


def add(weight: Tensor, tensors: dict[str, Tensor], key: str, strength: float) -> None:
    up, down = tensors[f"{key}.lora_up.weight"].float(), tensors[f"{key}.lora_down.weight"].float()
    alpha = tensors.get(f"{key}.alpha")
    scale = strength * (1.0 if alpha is None else alpha.item() / len(down))
    change = scale * (up @ down)
    if len(change) > len(weight):  # the small base knows fewer words than CLIP
        assert not change[len(weight) :].any()
        change = change[: len(weight)]
    weight += change


@torch.no_grad()
def encoded(exhibit: Exhibit, encoders: Sequence[nn.Module], prompt: str) -> list[Tensor]:
    """The last states of every text encoder."""
    found = []
    for tokenizer, encoder in zip(exhibit.base.tokenizers, encoders, strict=True):
        ids = tokenizer(prompt, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
        found.append(encoder(ids).last_hidden_state)
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("style", STYLES)
def test_a_slot_word_is_encoded_as_it_was_trained(exhibit: Exhibit, target: str, style: str) -> None:
    prompt = f"a red cat in {exhibit.museum.phrase(style)} style"
    with exhibit.museum.attached():
        ours = encoded(exhibit, exhibit.base.text_encoders, prompt)
    torch.testing.assert_close(encoded(exhibit, patched(exhibit, target), prompt), ours, rtol=1e-4, atol=1e-4)
    without = encoded(exhibit, patched(exhibit, target, with_table=False), prompt)
    assert all((one - other).abs().max() > 0.1 for one, other in zip(without, ours, strict=True))


def test_prompts_without_a_slot_word_are_encoded_bit_for_bit_as_without_the_patch(exhibit: Exhibit) -> None:
    with_table, without = patched(exhibit, "webui"), patched(exhibit, "webui", with_table=False)
    for prompt in PLAIN:
        assert all(map(torch.equal, encoded(exhibit, with_table, prompt), encoded(exhibit, without, prompt)))


def test_at_half_strength_a_slot_lies_halfway(exhibit: Exhibit) -> None:
    slot = exhibit.museum.slots.slots["neon"]
    ids = list(slot.token_ids)
    halfway = patched(exhibit, "comfyui", strength=0.5)
    for encoder, bare, vector in zip(halfway, exhibit.base.text_encoders, slot.vectors, strict=True):
        base = token_embedding(bare).weight[ids]
        torch.testing.assert_close(token_embedding(encoder).weight[ids], (base + vector) / 2)


def test_the_number_of_patched_weights_does_not_grow_with_styles(exhibit: Exhibit) -> None:
    tables = [key for key in load_file(exhibit.lora("comfyui")) if re.match(r"text_encoders\.", key)]
    assert len(tables) == 2 * len(exhibit.base.text_encoders)
