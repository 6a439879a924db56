"""Layers of the text encoders that know the words of the slots."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.config.arguments import POCKET_MODEL
from museum_plugin.errors import ConfigError, MuseumFileError
from museum_plugin.export.clients import IN_FILE, verdicts
from museum_plugin.export.outline import read_outline
from museum_plugin.export.plain_words import PlainPlan, PlainWords, learn_plain_words, with_layers
from museum_plugin.export.publish import Order, publish
from museum_plugin.export.targets import TARGETS
from museum_plugin.museum.lora import LoRANetwork
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import content_of, new_museum
from museum_plugin.museum.triggers import single_token
from tests.family_museums import family_museum, style
from tests.sdxl_models import TRUE, write_tiny_sdxl
from tests.tiny_museums import hooks, prediction, tiny_museum

CONTENTS = ("a red cat", "a blue fish on the grass", "a house", "two green birds at night", "")
PROMPT = "a red cat in zorvex style"
PLAN = PlainPlan(rank=8, steps=40, prompts=4, rate=0.5)
BRIEF = PlainPlan(rank=2, steps=3, prompts=2)


@pytest.fixture(scope="module")
def museum(base: BaseModel) -> Iterator[Museum]:
    """At work, with trained layers on the text encoder of its own."""
    found = tiny_museum(base, "ink", "neon", with_text_encoder=True)
    with found.attached():
        yield found


@pytest.fixture(scope="module")
def words(museum: Museum) -> PlainWords:
    return learn_plain_words(museum, ["ink", "neon"], TextEncoding(), BRIEF)


def network_of(base: BaseModel, tensors: dict[str, Tensor]) -> LoRANetwork:
    shapes = {
        name.removesuffix(".lora_down.weight"): LayerShape(len(down), float(len(down)))
        for name, down in tensors.items()
        if name.endswith(".lora_down.weight")
    }
    network = LoRANetwork(base, rank=1, alpha=1.0, seed=0, with_text_encoder=True, shapes=shapes)
    network.load_tensors(tensors)
    return network


@torch.no_grad()
def states(museum: Museum, prompt: str, *, plain: bool = False, text: TextEncoding | None = None) -> Tensor:
    with museum.slots.plain([plain]):
        return encode_prompts(museum.base, [prompt], text).states


def far(museum: Museum, prompts: Sequence[str], wanted: Sequence[Tensor], *, plain: bool = False) -> float:
    found = [states(museum, prompt, plain=plain) for prompt in prompts]
    return sum(map(apart, found, wanted)) / len(prompts)


def apart(one: Tensor, other: Tensor) -> float:
    return (one - other).norm().item()


def test_plain_words_come_to_mean_what_the_slot_does_and_nothing_else_moves_as_far(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a text encoder that was trained; in random ones a word hardly tells itself from another."""
    museum = new_museum(load_base(POCKET_MODEL), rank=1, alpha=1.0, seed=0, with_text_encoder=False)
    museum.slots.open("ink", ("nlwx",), (single_token(museum.base, "nlwx"),), "own")
    prompts = [f"{content} in nlwx style" for content in CONTENTS]
    caplog.set_level(logging.INFO, "museum")
    with museum.attached():
        slots, others = ([states(museum, prompt) for prompt in some] for some in (prompts, CONTENTS))
        before = far(museum, prompts, slots, plain=True)
        words = learn_plain_words(museum, ["ink"], TextEncoding(), PLAN)
        with network_of(museum.base, words.tensors).attached():
            assert far(museum, prompts, slots, plain=True) < 0.8 * before
            assert far(museum, prompts, slots) < 0.5 * before
            assert far(museum, CONTENTS, others) < 0.5 * before
    assert 0.3 < words.reached < 1
    assert "plain words: the text encoder learns ink in 40 steps" in caplog.text
    assert f"plain words: {100 * words.reached:.0f} % of the way to their slots" in caplog.text
    assert 0 < words.drift < 0.4
    assert {name.partition("_text_model")[0] for name in words.tensors} == {"lora_te"}


def test_the_museum_is_left_as_it_was_and_the_outcome_is_the_same_again(museum: Museum) -> None:
    before = {name: tensor.clone() for name, tensor in museum.network.tensors().items()}
    attached, state = hooks(museum.base), torch.get_rng_state()
    one, other = (learn_plain_words(museum, ["ink"], TextEncoding(), BRIEF) for _ in range(2))
    assert (one.reached, one.drift) == (other.reached, other.drift)
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert hooks(museum.base) == attached
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in museum.network.tensors().items())
    assert all(parameter.grad is None for parameter in museum.network.parameters())


@pytest.mark.parametrize(
    "change",
    [{"rank": 1}, {"steps": 2}, {"prompts": 3}, {"rate": 0.01}, {"seed": 1}],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_plan_counts(museum: Museum, change: dict[str, int]) -> None:
    told: list[int] = []
    usual = learn_plain_words(museum, ["ink"], TextEncoding(), BRIEF)
    found = learn_plain_words(museum, ["ink"], TextEncoding(), replace(BRIEF, **change), told.append)
    assert told == list(range(1, replace(BRIEF, **change).steps + 1))
    assert not all(torch.equal(found.tensors[name], usual.tensors.get(name)) for name in found.tensors)


def test_styles_and_how_prompts_are_read_count(museum: Museum) -> None:
    def tensors(styles: list[str], text: TextEncoding) -> Tensor:
        found = learn_plain_words(museum, styles, text, BRIEF).tensors
        return torch.cat([tensor.flatten() for _, tensor in sorted(found.items())])

    usual = tensors(["ink"], TextEncoding())
    assert not torch.equal(tensors(["neon"], TextEncoding()), usual)
    assert not torch.equal(tensors(["ink"], TextEncoding(clip_skip=2)), usual)


def test_half_precision_is_put_back_bit_for_bit(base_folder: Path) -> None:
    base = load_base(base_folder).to(torch.device("cpu"), torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in base.text_encoders[0].state_dict().items()}
    museum = tiny_museum(base, "ink")
    with museum.attached():
        assert learn_plain_words(museum, ["ink"], TextEncoding(), BRIEF).reached > 0
    after = base.text_encoders[0].state_dict()
    assert all(
        torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items()
    )


def test_both_text_encoders_of_sdxl_and_what_is_pooled_are_learned(tmp_path: Path) -> None:
    base = load_base(write_tiny_sdxl(tmp_path / "sdxl", TRUE))
    museum = new_museum(base, rank=1, alpha=1.0, seed=0, with_text_encoder=False)
    museum.slots.open("ink", ("zorvex",), (single_token(base, "zorvex"),), "cat")
    prompts = [f"{content} in zorvex style" for content in CONTENTS]

    def encoded(*, plain: bool) -> TextStates:
        with torch.no_grad(), museum.slots.plain([plain] * len(prompts)):
            return encode_prompts(base, prompts)

    with museum.attached():
        wanted, bare = encoded(plain=False), encoded(plain=True)
        words = learn_plain_words(museum, ["ink"], TextEncoding(), PLAN)
        with network_of(base, words.tensors).attached():
            found = encoded(plain=True)
    assert {name[:9] for name in words.tensors} == {"lora_te1_", "lora_te2_"}
    for part in ("states", "pooled"):
        now, start, end = (getattr(each, part) for each in (found, bare, wanted))
        assert apart(now, end) < 0.9 * apart(start, end)


def test_a_slot_that_is_its_plain_word_leaves_nothing_to_learn(base_folder: Path) -> None:
    museum = tiny_museum(load_base(base_folder), "ink")
    slot = museum.slots.slots["ink"]
    museum.slots.add(replace(slot, vectors=museum.slots.base_rows["ink"]))
    with museum.attached(), torch.no_grad():
        found = learn_plain_words(museum, ["ink"], TextEncoding(), BRIEF)
    assert found.reached == 1
    assert found.drift == 0


def test_two_loras_in_one_file_do_what_they_do_together(museum: Museum, words: PlainWords) -> None:
    with network_of(museum.base, words.tensors).attached():
        expected = prediction(museum.base, PROMPT)
    tensors = with_layers(museum.network.tensors(), words.tensors)
    assert set(tensors) == set(museum.network.tensors()) | set(words.tensors)
    with museum.disabled(), museum.slots.attached():
        museum.slots.enabled = True
        with network_of(museum.base, as_ranks(tensors)).attached():
            torch.testing.assert_close(prediction(museum.base, PROMPT), expected, atol=1e-5, rtol=1e-5)


def as_ranks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same LoRA with an alpha that is the rank everywhere."""
    found = dict(tensors)
    for name in [name for name in tensors if name.endswith(".alpha")]:
        up, down = (f"{name.removesuffix('.alpha')}.lora_{half}.weight" for half in ("up", "down"))
        found[up] = tensors[up] * (tensors[name] / len(tensors[down]))
    return found


def order(folder: Path, **more: object) -> Order:
    return replace(Order(folder / "mine.safetensors", (TARGETS["plain"],), folder / "exports"), **more)


def test_the_file_needs_nothing_beside_it(museum: Museum, words: PlainWords, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def learned(styles: list[str]) -> PlainWords:
        asked.append(list(styles))
        return words

    content = content_of(museum)
    (done,) = publish(content, order(tmp_path, plain_words=learned, styles=("neon",), precision="float"))
    assert asked == [["neon"]]
    assert not [name for name in done.files if "embeddings" in name]
    path = next(done.folder.glob("*.safetensors"))
    expected = with_layers(content.lora, words.tensors)
    found = load_file(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    with safe_open(path, "np") as file:
        assert file.metadata()["museum_plain_words"] == f"{words.reached:.2f}"
        assert "museum" not in file.metadata()
    assert all(verdict.loads and verdict.triggers == IN_FILE for verdict in verdicts(read_outline(path)))
    text = path.with_suffix(".txt").read_text(encoding="utf-8")
    assert "A1111, SD.Next, Forge: mine-neon.safetensors in models/Lora, then: <lora:mine-neon:1> a cat in" in text
    assert "embeddings" not in text
    assert "embedding:" not in text


def test_without_a_base_or_a_slot_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--for plain: needs the base model"):
        publish(family_museum("sd1", style("ink", "nlwx")), order(tmp_path))
    imported = replace(style("old", "nlwx"), words=(), token_ids=(), trigger="by somebody")
    with pytest.raises(MuseumFileError, match="no style has a slot, so its words work as they are: --for diffusers"):
        publish(family_museum("sd1", imported), order(tmp_path))
    assert not (tmp_path / "exports").exists()
