"""The bank: what the previous museum draws and predicts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random

import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.methods.bank import NEUTRAL, Anchor, Bank, BankPlan, fill_bank, with_features
from museum_plugin.museum.text_cache import StateCache
from tests.tiny_museums import WORDS, tiny_museum

CPU = torch.device("cpu")
PLAN = BankPlan(
    per_style=2, neutral=3, contents=("a cat", "a dog"), sampling=SamplingPlan(64, 64, steps=2, guidance=3.0), seed=4
)


def anchor(group: int, prompt: str = "a cat", t: int = 0, value: float = 0.0) -> Anchor:
    return Anchor(group, prompt, torch.full((1, 1, 1), value), t, torch.full((1, 1, 1), value))


@torch.no_grad()
def predict(base: BaseModel, anchor: Anchor) -> Tensor:
    states = encode_prompts(base, [anchor.prompt])
    return Denoiser(base).predict(anchor.noisy[None], torch.tensor([anchor.t]), states)[0]


@pytest.mark.parametrize("with_text_encoder", [False, True])
def test_anchors_carry_the_predictions_of_their_teachers(base: BaseModel, with_text_encoder: bool) -> None:
    """Without a trigger the teacher is the bare base; with one, the previous museum."""
    museum = tiny_museum(base, "ink", "neon", with_text_encoder=with_text_encoder)
    with museum.attached():
        bank = fill_bank(museum, PLAN)
        taught = {id(anchor): predict(base, anchor) for anchor in bank.anchors}
    assert bank.groups == (NEUTRAL, "ink", "neon")
    assert Counter(anchor.group for anchor in bank.anchors) == {0: 3 * 2 * 2, 1: 2 * 2 * 2, 2: 2 * 2 * 2}
    for anchor in bank.anchors:
        expected = taught[id(anchor)] if anchor.group else predict(base, anchor)
        torch.testing.assert_close(anchor.pred.float(), expected, atol=1e-5, rtol=6e-4)
        phrase = {0: "", 1: WORDS["ink"], 2: WORDS["neon"]}[anchor.group]
        assert not anchor.prompt or (phrase in anchor.prompt and anchor.prompt.startswith(("a cat", "a dog")))


def test_a_bank_depends_on_its_plan_alone(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")

    def drawn(**changes: object) -> Tensor:
        with museum.attached():
            bank = fill_bank(museum, dataclasses.replace(PLAN, **changes))  # type: ignore[arg-type]
        return torch.stack([anchor.pred for anchor in bank.anchors])

    usual = drawn()
    assert torch.equal(usual, drawn())
    torch.testing.assert_close(usual, drawn(batch_size=2), atol=1e-5, rtol=1e-3)
    for change in ({"seed": 5}, {"contents": ("a fish",)}, {"per_style": 3}, {"neutral": 2}):
        other = drawn(**change)
        assert other.shape != usual.shape or not torch.equal(other, usual)


def test_a_share_of_a_style_is_drawn_with_its_plain_words(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink", "neon")
    plan = dataclasses.replace(PLAN, per_style=4, plain={"ink": 0.5}, batch_size=3)
    seen: list[int] = []
    with museum.attached():
        bank = fill_bank(museum, plan, seen.append)
        with museum.slots.disabled():
            plain = {id(anchor): predict(base, anchor) for anchor in bank.anchors}
    assert seen == [3, 2, 2, 3, 1]
    marks = Counter((anchor.group, anchor.plain) for anchor in bank.anchors)
    assert marks == {(0, False): 12, (1, True): 8, (1, False): 8, (2, False): 16}
    for anchor in bank.anchors:
        if anchor.plain or (anchor.group and not anchor.prompt):
            torch.testing.assert_close(anchor.pred.float(), plain[id(anchor)], atol=1e-5, rtol=6e-4)
        elif anchor.group:
            assert not torch.allclose(anchor.pred.float(), plain[id(anchor)], atol=1e-5, rtol=6e-4)
    batch = bank.batch(9, Random(0), CPU)
    assert set(batch.plain) == {True, False}
    assert all(group == 1 for group, is_plain in zip(batch.groups, batch.plain, strict=True) if is_plain)


def test_predictions_take_half_and_come_back_whole(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    with museum.attached():
        bank = fill_bank(museum, PLAN)
    assert {(anchor.pred.dtype, anchor.noisy.dtype) for anchor in bank.anchors} == {(torch.float16, torch.float32)}
    batch = bank.batch(3, Random(0), CPU)
    assert (batch.teacher_pred.dtype, batch.noisy.dtype) == (torch.float32, torch.float32)


def test_progress_counts_trajectories(base: BaseModel) -> None:
    museum, seen = tiny_museum(base, "ink"), []
    with museum.attached():
        fill_bank(museum, dataclasses.replace(PLAN, batch_size=2), seen.append)
    assert seen == [2, 1, 2]


def test_groups_are_drawn_equally_often_however_many_anchors_they_have() -> None:
    bank = Bank(("none", "ink", "neon"), [anchor(0)] * 50 + [anchor(1)] * 2 + [anchor(2)], empty_share=0)
    drawn = Counter(group for i in range(400) for group in bank.batch(3, Random(i), CPU).groups)
    assert drawn == {0: 400, 1: 400, 2: 400}
    first = Counter(bank.batch(1, Random(i), CPU).groups[0] for i in range(900))
    assert all(250 < count < 350 for count in first.values())


def test_a_batch_is_the_same_for_the_same_random_numbers() -> None:
    bank = Bank(("none",), [anchor(0, t=t, value=t) for t in range(100)])
    one, again, other = (bank.batch(4, Random(seed), CPU) for seed in (1, 1, 2))
    assert torch.equal(one.t, again.t)
    assert not torch.equal(one.t, other.t)
    assert torch.equal(one.noisy.flatten(), one.t.float())
    assert torch.equal(one.teacher_pred, one.noisy)


def test_noise_levels_of_a_batch_are_spread_over_the_trajectory() -> None:
    bank = Bank(("none",), [anchor(0, t=t) for t in reversed(range(100))], empty_share=0)
    for i in range(20):
        assert sorted(t // 25 for t in bank.batch(4, Random(i), CPU).t.tolist()) == [0, 1, 2, 3]


def test_the_empty_prompt_has_its_share() -> None:
    anchors = [anchor(0), anchor(0, prompt="")]
    for share in (0.0, 0.25, 1.0):
        bank = Bank(("none",), anchors, empty_share=share)
        empty = sum(prompt == "" for i in range(1000) for prompt in bank.batch(1, Random(i), CPU).prompts) / 1000
        assert abs(empty - share) < 0.04


def test_groups_without_anchors_or_without_a_kind_of_them_are_no_trouble() -> None:
    bank = Bank(("none", "ink", "neon"), [anchor(0, prompt=""), anchor(2)])
    groups = Counter(group for i in range(100) for group in bank.batch(2, Random(i), CPU).groups)
    assert groups == {0: 100, 2: 100}
    with pytest.raises(ValueError, match="without anchors"):
        Bank(("none",), []).batch(1, Random(0), CPU)


def test_thinning_keeps_every_group_and_all_noise_levels() -> None:
    anchors = [anchor(group, prompt, t) for group in (0, 1) for prompt in ("a cat", "") for t in range(90)]
    thinned = Bank(("none", "ink"), anchors).thinned(9)
    assert Counter((anchor.group, anchor.prompt) for anchor in thinned) == {
        (0, "a cat"): 9, (1, "a cat"): 9, (0, ""): 3, (1, ""): 3
    }  # fmt: skip
    assert [anchor.t // 10 for anchor in thinned[:9]] == list(range(9))


@pytest.mark.parametrize("with_text_encoder", [False, True])
def test_features_are_those_of_each_anchors_teacher(base: BaseModel, with_text_encoder: bool) -> None:
    museum = tiny_museum(base, "ink", with_text_encoder=with_text_encoder)
    blocks = ("mid_block", "up_blocks.3")
    with museum.attached():
        bank = with_features(fill_bank(museum, PLAN), museum, StateCache(museum, TextEncoding()), blocks, per_group=4)
        seen = {id(anchor): features(base, anchor, blocks) for anchor in bank.anchors if anchor.group}
    assert {anchor.group for anchor in bank.anchors} == {0, 1}
    for anchor in bank.anchors:
        expected = seen.get(id(anchor)) or features(base, anchor, blocks)
        for found, feature in zip(anchor.features, expected, strict=True):
            assert torch.equal(found, feature)
    batch = bank.batch(3, Random(0), CPU)
    assert [feature.shape for feature in batch.teacher_features] == [(3, 16, 1, 1), (3, 8, 8, 8)]


def features(base: BaseModel, anchor: Anchor, blocks: tuple[str, ...]) -> list[Tensor]:
    with Denoiser(base).watch(blocks) as found:
        predict(base, anchor)
    return [feature[0] for feature in found]


def test_states_of_plain_prompts_are_kept_apart(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    cache, prompt = StateCache(museum, TextEncoding()), f"a cat in {WORDS['ink']} style"
    with museum.attached(), torch.no_grad():
        taught, plain = cache.states([prompt, prompt], [False, True]).states
        assert torch.equal(taught, encode_prompts(base, [prompt]).states[0])
        with museum.slots.disabled():
            assert torch.equal(plain, encode_prompts(base, [prompt]).states[0])
        assert torch.equal(cache.states([prompt]).states[0], taught)
    assert not torch.equal(taught, plain)


def test_states_are_computed_once_for_base_and_museum_each(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink", with_text_encoder=True)
    cache, runs = StateCache(museum, TextEncoding(2, 150)), []
    hook = base.text_encoders[0].register_forward_hook(lambda *_: runs.append(1))
    prompts = ["a cat", "a dog", "a cat"]
    with museum.attached():
        taught = [cache.states(prompts) for _ in range(2)]
        with museum.disabled():
            bare = [cache.states(prompts) for _ in range(2)]
        hook.remove()
        with torch.no_grad():
            assert torch.equal(taught[1].states, encode_prompts(base, prompts, TextEncoding(2, 150)).states)
    with torch.no_grad():
        assert torch.equal(bare[1].states, encode_prompts(base, prompts, TextEncoding(2, 150)).states)
    assert len(runs) == 4
    assert not torch.equal(taught[0].states, bare[0].states)
