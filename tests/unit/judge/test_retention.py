"""Drawing and judging on a tiny base with random weights: what is drawn, what is compared, what is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.sampler import SamplingPlan, sample_latents
from museum_plugin.errors import BaseModelError, ConfigError, MuseumFileError, TrainingError
from museum_plugin.judge.retention import (
    BASE,
    NO_TRIGGER,
    Exhibition,
    Verdict,
    draw,
    judge,
    nearest_style,
    prompt_for,
    relative_drift,
)
from museum_plugin.judge.signature import Signature, distance, signature, style_score
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.slots import Slot
from museum_plugin.museum.store import new_museum
from tests.tiny_models import TINY_SLOT_WORDS, write_tiny_base

EXHIBITION = Exhibition(
    prompts=("a red cat", "a house {style} at night", "two fish"), seeds=(3, 4, 5), plan=SamplingPlan(64, 64, steps=1)
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return load_base(write_tiny_base(tmp_path_factory.mktemp("judge") / "tiny"))


@pytest.fixture
def museum(base: BaseModel) -> Iterator[Museum]:
    """Two styles whose slots differ, and a LoRA that changes something."""
    found = new_museum(base, rank=2, alpha=2.0, seed=1, with_text_encoder=False)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in found.network.layers.values():
            layer.up.normal_(0, 0.3, generator=rng)
    for style, word in zip(("ink", "dots"), TINY_SLOT_WORDS, strict=False):
        (token,) = base.tokenizers[0](word, add_special_tokens=False).input_ids
        found.slots.add(Slot(style, (word,), (token,), (torch.randn(1, 16, generator=rng) * 3,)))
    with found.attached():
        yield found


def by_hand(museum: Museum, prompts: tuple[str, ...]) -> Tensor:
    return sample_latents(museum.base, prompts, EXHIBITION.seeds, EXHIBITION.plan)


def styles(seed: int = 7) -> dict[str, Signature]:
    rng = torch.Generator().manual_seed(seed)
    return {name: signature(5 * torch.randn(3, 4, 8, 8, generator=rng) + i) for i, name in enumerate(("ink", "dots"))}


@pytest.mark.parametrize(
    ("prompt", "phrase", "expected"),
    [
        ("a cat", "zorvex", "a cat in zorvex style"),
        ("a zorvex cat", "zorvex", "a zorvex cat"),
        ("a cat, {style}, at night", "zorvex", "a cat, zorvex, at night"),
        ("{style} {style}", "big zorvex", "big zorvex big zorvex"),
        ("a cat", "", "a cat"),
        ("a cat in {style} style at night", "", "a cat at night"),
        ("a {style} cat", "", "a cat"),
        ("{style}", "", ""),
    ],
)
def test_the_phrase_is_put_where_the_prompt_wants_it(prompt: str, phrase: str, expected: str) -> None:
    assert prompt_for(prompt, phrase) == expected


@pytest.mark.parametrize(
    ("prompts", "seeds", "batch_size"), [((), (), 8), (("a",), (), 8), (("a",), (1, 2), 8), (("a",), (1,), 0)]
)
def test_an_exhibition_is_checked_at_birth(prompts: tuple[str, ...], seeds: tuple[int, ...], batch_size: int) -> None:
    with pytest.raises(ValueError, match=r"prompts and .* seeds|batch_size"):
        Exhibition(prompts, seeds, SamplingPlan(64, 64), batch_size)


def test_drawing_uses_each_styles_own_phrase(museum: Museum) -> None:
    zorvex, quimbly = TINY_SLOT_WORDS[:2]
    for style, word in (("ink", zorvex), ("dots", quimbly)):
        prompts = (f"a red cat in {word} style", f"a house {word} at night", f"two fish in {word} style")
        assert torch.equal(draw(museum, EXHIBITION, style), by_hand(museum, prompts))
    assert torch.equal(draw(museum, EXHIBITION, None), by_hand(museum, ("a red cat", "a house at night", "two fish")))
    assert draw(museum, EXHIBITION, "ink").shape == (3, 4, 8, 8)


def test_the_same_seeds_draw_the_same_and_other_seeds_do_not(museum: Museum) -> None:
    first = draw(museum, EXHIBITION, "ink")
    assert torch.equal(first, draw(museum, EXHIBITION, "ink"))
    other = draw(museum, replace(EXHIBITION, seeds=(3, 4, 6)), "ink")
    torch.testing.assert_close(other[:2], first[:2])
    assert not torch.equal(other[2], first[2])


def test_the_plan_is_followed(museum: Museum) -> None:
    wide = replace(EXHIBITION, plan=SamplingPlan(128, 64, steps=1))
    assert draw(museum, wide, None).shape == (3, 4, 8, 16)


@pytest.mark.parametrize(("batch_size", "expected"), [(8, [8, 3]), (4, [4, 4, 3])])
def test_prompts_are_drawn_in_batches_that_do_not_show(museum: Museum, batch_size: int, expected: list[int]) -> None:
    prompts = tuple(f"{n} cats" for n in range(11))
    many = Exhibition(prompts, tuple(range(11)), SamplingPlan(64, 64, steps=1), batch_size)
    sizes: list[int] = []
    handle = museum.base.unet.register_forward_pre_hook(lambda _unet, inputs: sizes.append(len(inputs[0]) // 2))
    found = draw(museum, many, "ink")
    handle.remove()
    assert sizes == expected
    whole = draw(museum, replace(many, batch_size=11), "ink")
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-3)


def test_a_style_without_a_slot_is_a_users_error(museum: Museum) -> None:
    with pytest.raises(ConfigError, match=r"'inc' is not in this museum; it has: ink, dots"):
        draw(museum, EXHIBITION, "inc")


def test_the_verdict_measures_what_was_drawn(museum: Museum) -> None:
    signatures = styles()
    verdict = judge(museum, EXHIBITION, signatures)
    assert verdict.names == ("ink", "dots")
    assert list(verdict.latents) == [BASE, NO_TRIGGER, "ink", "dots"]
    with museum.disabled():
        assert torch.equal(verdict.latents[BASE], draw(museum, EXHIBITION, None))
    assert torch.equal(verdict.latents[NO_TRIGGER], draw(museum, EXHIBITION, None))
    assert not torch.equal(verdict.latents[BASE], verdict.latents[NO_TRIGGER])
    assert torch.equal(verdict.latents["dots"], draw(museum, EXHIBITION, "dots"))
    found = {column: signature(latents) for column, latents in verdict.latents.items()}
    assert verdict.scores == {n: style_score(found[n], signatures[n], found[BASE]) for n in signatures}
    assert verdict.drift == relative_drift(found[NO_TRIGGER], found[BASE], signatures) > 0


def test_the_same_seeds_give_the_same_verdict(museum: Museum) -> None:
    first, second = judge(museum, EXHIBITION, styles()), judge(museum, EXHIBITION, styles())
    assert (first.scores, first.drift, first.confusion) == (second.scores, second.drift, second.confusion)


def test_a_style_drawn_as_its_own_pictures_scores_1_and_one_drawn_as_another_is_confused(museum: Museum) -> None:
    ink, dots = (signature(draw(museum, EXHIBITION, style)) for style in ("ink", "dots"))
    right = judge(museum, EXHIBITION, {"ink": ink, "dots": dots})
    assert right.scores == {"ink": 1, "dots": 1}
    assert right.confusion == {"ink": "ink", "dots": "dots"}
    swapped = judge(museum, EXHIBITION, {"ink": dots, "dots": ink})
    assert max(swapped.scores.values()) < 1
    assert swapped.confusion == {"ink": "dots", "dots": "ink"}


def test_a_museum_that_changes_nothing_does_not_drift(museum: Museum) -> None:
    for layer in museum.network.layers.values():
        layer.up.detach().zero_()
    museum.slots.enabled = False
    verdict = judge(museum, replace(EXHIBITION, prompts=("a cat",) * 3), styles())
    assert verdict.drift == 0
    assert torch.equal(verdict.latents[BASE], verdict.latents[NO_TRIGGER])


def test_judging_changes_nothing(museum: Museum) -> None:
    before = {name: tensor.clone() for name, tensor in museum.network.tensors().items()}
    judge(museum, EXHIBITION, styles())
    assert all(torch.equal(tensor, museum.network.tensors()[name]) for name, tensor in before.items())
    assert museum.network.enabled
    assert museum.slots.enabled


def test_base_latents_given_are_not_drawn_again(museum: Museum) -> None:
    first = judge(museum, EXHIBITION, styles())
    moved = first.latents[BASE] + 1
    again = judge(museum, EXHIBITION, styles(), base_latents=moved)
    assert torch.equal(again.latents[BASE], moved)
    assert again.scores != first.scores


def test_a_museum_without_styles_cannot_be_judged(museum: Museum) -> None:
    with pytest.raises(MuseumFileError, match="nothing to judge"):
        judge(museum, EXHIBITION, {})


def test_pictures_that_are_not_finite_are_blamed_on_who_drew_them(museum: Museum) -> None:
    layer = next(iter(museum.network.layers.values()))
    layer.up.detach().fill_(float("nan"))
    with pytest.raises(TrainingError, match="drawn with no trigger are not finite"):
        judge(museum, EXHIBITION, styles())
    weight = museum.base.unet.conv_out.bias
    kept = weight.detach().clone()
    weight.detach().fill_(float("inf"))
    try:
        with pytest.raises(BaseModelError, match="drawn by the bare base are not finite"):
            judge(museum, EXHIBITION, styles())
    finally:
        weight.detach().copy_(kept)


def at(place: float) -> Signature:
    return Signature(torch.tensor([place, 0.0]).double(), torch.eye(2).double())


def test_drift_is_measured_in_the_mean_distance_of_a_style() -> None:
    assert relative_drift(at(1), at(0), {"ink": at(3), "dots": at(-5)}) == pytest.approx(1 / 4)
    assert relative_drift(at(2), at(2), {"ink": at(3)}) == 0


def test_drift_without_a_scale() -> None:
    assert relative_drift(at(0), at(0), {"ink": at(0)}) == 0
    assert relative_drift(at(1), at(0), {"ink": at(0)}) == 1


def test_nearest_style() -> None:
    signatures = {"ink": at(0), "dots": at(4)}
    assert [nearest_style(at(place), signatures) for place in (1, 2, 3)] == ["ink", "ink", "dots"]
    assert distance(at(2), at(0)) == distance(at(2), at(4))


def verdict(confusion: dict[str, str] | None = None, **scores: float) -> Verdict:
    names = tuple(scores)
    return Verdict(names, scores, 0.034, confusion or {name: name for name in names}, {})


def test_kept_is_the_share_of_the_first_score() -> None:
    kept = verdict(ink=0.4, dots=0.9, neon=0.3, gold=0.5).kept({"ink": 0.8, "dots": 0.6, "neon": 0.0})
    assert kept == {"ink": 0.5, "dots": 1.0, "neon": 1.0}


def test_an_old_style_that_was_not_judged_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="not judged: dots"):
        verdict(ink=0.4).kept({"ink": 0.8, "dots": 0.6})


def test_the_verdict_in_words() -> None:
    found = verdict(ink=0.79, blueprint=0.77)
    assert found.sentences({"ink": 0.81}) == [
        "ink keeps 97 % (0.81 -> 0.79)",
        "blueprint is new: 0.77",
        "no trigger: drift 0.03",
    ]


def test_what_is_left_of_an_effect_is_said_where_it_is_known() -> None:
    found = replace(verdict(ink=0.8, dots=0.05, neon=0.5), effect_kept={"ink": 0.857, "dots": -0.2})
    assert found.sentences({"ink": 0.8, "dots": 0.05})[:3] == [
        "ink keeps 100 % (0.80 -> 0.80), 85 % of its effect",
        "dots is too near to what the base draws for its statistics to tell (0.05), 0 % of its effect",
        "neon is new: 0.50",
    ]


def test_confusion_is_said() -> None:
    found = verdict({"ink": "dots", "dots": "dots"}, ink=0.1, dots=0.5)
    assert "ink is confused: its pictures are nearest to dots" in found.sentences({})
    assert len(found.sentences({})) == 4


def test_a_style_that_could_never_be_told_from_the_base_is_not_said_to_be_kept() -> None:
    lines = verdict(dots=0.02, ink=0.5).sentences({"dots": 0.04})
    assert lines[0] == "dots is too near to what the base draws for its statistics to tell (0.02)"
    assert lines[1] == "ink is new: 0.50"
