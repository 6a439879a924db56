"""Slots: learned embeddings in place of those of the slot words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from museum_plugin.base.encode import encode_prompts, token_embedding
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.errors import ConfigError
from museum_plugin.museum.slots import Slot, Slots
from museum_plugin.museum.triggers import single_token
from tests.tiny_models import TINY_SLOT_WORDS
from tests.tiny_museums import hooks

WORD, OTHER, _ = TINY_SLOT_WORDS


def closed(base: BaseModel, style: str, *words: str, value: float = 1.0) -> Slot:
    ids = tuple(single_token(base, word) for word in words)
    return Slot(style, words, ids, (torch.full((len(words), 16), value),))


@torch.no_grad()
def states(base: BaseModel, prompt: str) -> torch.Tensor:
    return encode_prompts(base, [prompt]).states


def embedded(base: BaseModel, words: str) -> torch.Tensor:
    """(n, d): the embeddings that the text encoder sees for a few words."""
    table = token_embedding(base.text_encoders[0])
    ids = base.tokenizers[0](words, add_special_tokens=False, return_tensors="pt").input_ids
    return table(ids)[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_bases_own_embeddings_are_kept_as_they_were_loaded(base_folder: Path, dtype: torch.dtype) -> None:
    """Export gives them to clients beside the slot, and a run in half precision rounds the text encoder."""
    base = load_base(base_folder)
    token = single_token(base, WORD)
    exact = token_embedding(base.text_encoders[0]).weight[token].clone()
    rounded = base.to(torch.device("cpu"), dtype)
    assert token_embedding(rounded.text_encoders[0]).weight.dtype == dtype
    slots = Slots(rounded.to(torch.device("cpu"), dtype))
    slots.open("ink", (WORD,), (token,), "own")
    assert torch.equal(slots.base_rows["ink"][0], exact[None])
    assert not torch.equal(exact.to(dtype).float(), exact)


def test_a_slot_acts_at_its_word_and_nowhere_else(base: BaseModel) -> None:
    table = token_embedding(base.text_encoders[0]).weight
    before, bare = table.clone(), {prompt: states(base, prompt) for prompt in ("a red cat", f"a cat, {WORD.upper()}")}
    slots = Slots(base)
    slots.add(closed(base, "ink", WORD, value=3.0))
    with slots.attached() as attached:
        assert attached == hooks(base) == 1
        red, word = embedded(base, f"red {WORD}")
        assert torch.equal(red, embedded(base, "red")[0])
        assert torch.equal(word, torch.full((16,), 3.0))
        assert torch.equal(states(base, "a red cat"), bare["a red cat"])
        assert not torch.equal(states(base, f"a cat, {WORD.upper()}"), bare[f"a cat, {WORD.upper()}"])
        slots.enabled = False
        assert torch.equal(states(base, f"a cat, {WORD.upper()}"), bare[f"a cat, {WORD.upper()}"])
    assert hooks(base) == 0
    assert torch.equal(table, before)


def test_marked_prompts_keep_the_words_of_the_base(base: BaseModel) -> None:
    """As if no slot were loaded; also where a prompt takes several chunks."""
    prompts, text = [f"a cat {WORD}", f"a dog {WORD}"], TextEncoding(max_token_length=150)
    slots = Slots(base)
    with torch.no_grad():
        bare = encode_prompts(base, prompts, text).states
        slots.add(closed(base, "ink", WORD, value=3.0))
        with slots.attached():
            taught = encode_prompts(base, prompts, text).states
            with slots.plain([False, True]):
                mixed = encode_prompts(base, prompts, text).states
            with slots.disabled():
                assert torch.equal(encode_prompts(base, prompts, text).states, bare)
            assert torch.equal(encode_prompts(base, prompts, text).states, taught)
    assert torch.equal(mixed[0], taught[0])
    assert torch.equal(mixed[1], bare[1])
    assert not torch.equal(taught[1], bare[1])


def test_slots_do_not_mix(base: BaseModel) -> None:
    slots = Slots(base)
    slots.add(closed(base, "ink", WORD, value=1.0))
    slots.add(closed(base, "neon", OTHER, value=2.0))
    with slots.attached():
        assert embedded(base, f"{OTHER} {WORD}").unique().tolist() == [1.0, 2.0]
        assert embedded(base, f"{OTHER} {WORD}")[0, 0] == 2.0


def test_a_slot_starts_from_a_word_or_from_its_own_words(base: BaseModel) -> None:
    slots, ids = Slots(base), (single_token(base, WORD), single_token(base, OTHER))
    own = slots.open("own", (WORD, OTHER), ids, "own")
    cat = slots.open("cat", (WORD, OTHER), ids, "cat")
    several = slots.open("several", (WORD,), ids[:1], "red cat")
    words, length = embedded(base, f"{WORD} {OTHER}"), embedded(base, "style").norm(dim=1)
    torch.testing.assert_close(own.vectors[0].norm(dim=1), length.expand(2))
    torch.testing.assert_close(own.vectors[0] / length, words / words.norm(dim=1, keepdim=True))
    assert torch.equal(cat.vectors[0], embedded(base, "cat").expand(2, -1))
    assert torch.equal(several.vectors[0], embedded(base, "red cat").mean(0, keepdim=True))
    assert own.phrase == f"{WORD} {OTHER}"


def test_a_start_without_a_token_is_refused(base: BaseModel) -> None:
    with pytest.raises(ConfigError, match="slot_init: found ' '"):
        Slots(base).open("ink", (WORD,), (single_token(base, WORD),), " ")


def test_gradients_reach_the_open_slot_alone_and_closing_freezes_it(base: BaseModel) -> None:
    slots = Slots(base)
    slots.add(closed(base, "old", OTHER))
    opened = slots.open("ink", (WORD,), (single_token(base, WORD),), "own")
    with slots.attached():
        encode_prompts(base, [f"{WORD} and {OTHER}"]).states.square().mean().backward()
    assert opened.vectors[0].grad is not None
    assert opened.vectors[0].grad.any()
    assert not slots.slots["old"].vectors[0].requires_grad
    assert token_embedding(base.text_encoders[0]).weight.grad is None

    frozen = slots.close("ink")
    with torch.no_grad():
        opened.vectors[0].add_(1)
    assert slots.slots["ink"] is frozen
    assert not frozen.vectors[0].requires_grad
    assert torch.equal(frozen.vectors[0] + 1, opened.vectors[0])
