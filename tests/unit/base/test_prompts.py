"""Prompts to text states: layers, chunks and weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from museum_plugin.base.emphasis import emphasize, weighted_parts, weighted_tokens
from museum_plugin.base.encode import encode_prompts, join_chunks, split_chunks, text_model, token_ids
from museum_plugin.base.load import BaseModel
from museum_plugin.base.text_encoding import TextEncoding

LONG = "a red cat and a blue dog " * 30


@pytest.fixture
def padded_otherwise(base: BaseModel) -> CLIPTokenizer:
    """SD2's tokenizer pads with another token than the end."""
    tokenizer = copy.deepcopy(base.tokenizers[0])
    tokenizer.pad_token = "!"
    return tokenizer


def words(tokenizer: CLIPTokenizer, prompt: str) -> list[int]:
    return tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids


def test_prompts_are_padded_and_cut_to_75_tokens(base: BaseModel) -> None:
    tokenizer = base.tokenizers[0]
    ids, weights = token_ids(tokenizer, ["a red cat", LONG], TextEncoding())
    usual = tokenizer(["a red cat", LONG], padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert torch.equal(ids, usual)
    assert ids.shape == (2, 77)
    assert weights is None
    assert torch.equal(split_chunks(ids, tokenizer), ids[:, None])


@torch.no_grad()
def test_clip_skip_takes_an_earlier_layer_under_the_final_norm(base: BaseModel) -> None:
    (encoder,) = base.text_encoders
    ids, _ = token_ids(base.tokenizers[0], ["a red cat"], TextEncoding())
    hidden = encoder(ids, output_hidden_states=True).hidden_states

    last, before = (encode_prompts(base, ["a red cat"], TextEncoding(skip)).states for skip in (1, 2))

    norm = text_model(encoder).final_layer_norm
    assert torch.equal(last, norm(hidden[-1]))
    assert torch.equal(before, norm(hidden[-2]))
    assert not torch.equal(last, before)
    assert torch.equal(last, encode_prompts(base, ["a red cat"]).states)


@pytest.mark.parametrize("count", [2, 3])
def test_long_prompts_fill_chunks_with_their_own_ends(base: BaseModel, count: int) -> None:
    tokenizer = base.tokenizers[0]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids, _ = token_ids(tokenizer, ["a red cat", LONG], TextEncoding(max_token_length=75 * count))

    short, long = split_chunks(ids, tokenizer).tolist()

    assert short == [[start, *words(tokenizer, "a red cat"), *[end] * 73], *[[start, *[end] * 76]] * (count - 1)]
    tokens = words(tokenizer, LONG)
    assert len(tokens) > 75 * (count - 1)
    rows = [tokens[75 * i : 75 * i + 75] for i in range(count)]
    assert long == [[start, *row, *[end] * (76 - len(row))] for row in rows]


def test_where_padding_is_no_end_each_chunk_gets_one(padded_otherwise: CLIPTokenizer) -> None:
    tokenizer = padded_otherwise
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    assert pad != end
    hundred = " ".join(["cat"] * 100)
    ids, _ = token_ids(tokenizer, ["cat", hundred], TextEncoding(max_token_length=225))

    short, long = split_chunks(ids, tokenizer).tolist()

    (cat,) = words(tokenizer, "cat")
    assert short == [[start, cat, end, *[pad] * 74], *[[start, end, *[pad] * 75]] * 2]
    assert long == [
        [start, *[cat] * 75, end],
        [start, *[cat] * 25, end, *[pad] * 50],
        [start, end, *[pad] * 75],
    ]


@torch.no_grad()
@pytest.mark.parametrize("skip", [1, 2])
def test_states_of_chunks_stand_one_after_another(base: BaseModel, skip: int) -> None:
    tokenizer, prompts = base.tokenizers[0], ["a red cat", LONG]
    ids, _ = token_ids(tokenizer, prompts, TextEncoding(max_token_length=150))
    expected = []
    for chunks in split_chunks(ids, tokenizer):
        hidden = base.text_encoders[0](chunks, output_hidden_states=True).hidden_states[-skip]
        first, second = text_model(base.text_encoders[0]).final_layer_norm(hidden)
        expected.append(torch.cat([first[:76], second[1:]]))

    found = encode_prompts(base, prompts, TextEncoding(skip, 150)).states

    assert found.shape == (2, 152, 16)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=1e-5)
    short = encode_prompts(base, prompts, TextEncoding(skip)).states
    torch.testing.assert_close(found[:, :76], short[:, :76], atol=1e-6, rtol=1e-5)


def test_one_chunk_is_left_as_it_is() -> None:
    states = torch.randn(2, 77, 3)
    assert torch.equal(join_chunks(states, 2), states)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("plain, text: 1", [("plain, text: 1", 1.0)]),
        ("", []),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(a:1.5)(b:1.5) [c]", [("ab", 1.5), (" ", 1.0), ("c", 1 / 1.1)]),
        ("((a):2)", [("a", 1.1 * 2)]),
        ("(a:.5) (b:-2) (c:+3.)", [("a", 0.5), (" ", 1.0), ("b", -2.0), (" ", 1.0), ("c", 3.0)]),
        (r"\(a\) \[b\] \\ \c", [(r"(a) [b] \ c", 1.0)]),
        ("(open", [("open", 1.1)]),
        ("[open (more", [("open ", 1 / 1.1), ("more", 1.1 * (1 / 1.1))]),
        ("a) b] c:2)", [("a) b] c:2)", 1.0)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a: 2)", [("a: 2", 1.1)]),
    ],
)
def test_brackets_are_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    found = weighted_parts(prompt)
    assert [text for text, _ in found] == [text for text, _ in parts]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in parts])


def test_every_token_carries_the_weight_of_its_part(base: BaseModel) -> None:
    tokenizer = base.tokenizers[0]
    ids, weights = weighted_tokens(tokenizer, ["a (red cat:1.5)", "x" * 300, ""], 75)
    plain, _ = token_ids(tokenizer, ["a red cat", "x" * 300, ""], TextEncoding())
    assert torch.equal(ids[0], plain[0])
    assert torch.equal(ids[2], plain[2])
    assert ids.shape == weights.shape == (3, 77)
    assert weights[0].tolist() == [1.0, 1.0, 1.5, 1.5, *[1.0] * 73]
    assert ids[1, -1] == tokenizer.eos_token_id
    assert torch.equal(weights[1:], torch.ones(2, 77))


def test_weights_multiply_the_states_of_their_tokens() -> None:
    states = torch.tensor([[[1.0, 3.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 2.0], [1.0, 0.5]])
    expected = torch.tensor([[[1.0, 3.0], [4.0, 4.0]], [[1.0, 1.0], [0.5, 0.5]]], dtype=torch.float64)
    assert torch.equal(emphasize(states, weights), expected)
    assert emphasize(states.half(), weights).dtype == torch.float16


def encoded(base: BaseModel, prompt: str, **settings: object) -> Tensor:
    with torch.no_grad():
        return encode_prompts(base, [prompt], TextEncoding(**settings)).states  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [75, 150])
def test_without_brackets_weights_change_nothing(base: BaseModel, length: int) -> None:
    usual = encoded(base, "a red cat", max_token_length=length)
    assert torch.equal(encoded(base, "a red cat", max_token_length=length, weighted=True), usual)


def test_a_weighted_prompt_is_the_plain_one_times_its_weights(base: BaseModel) -> None:
    found = encoded(base, "a (red cat:1.5)", max_token_length=150, weighted=True)
    plain = encoded(base, "a red cat", max_token_length=150)
    weights = torch.ones(1, 152)
    weights[0, 2:4] = 1.5
    assert torch.equal(found, emphasize(plain, weights))
    assert not torch.equal(found, plain)
    assert not torch.equal(encoded(base, "a (red cat:1.5)", max_token_length=150), found)


def test_gradients_reach_the_text_encoder_through_chunks_and_weights(base: BaseModel) -> None:
    table = text_model(base.text_encoders[0]).embeddings.token_embedding.weight
    table.requires_grad_(True)
    try:
        states = encode_prompts(base, ["a (red cat:1.5)"], TextEncoding(max_token_length=150, weighted=True))
        (gradient,) = torch.autograd.grad(states.states.square().sum(), table)
    finally:
        table.requires_grad_(False)
    (token,) = words(base.tokenizers[0], "red")
    assert gradient[token].abs().sum() > 0
