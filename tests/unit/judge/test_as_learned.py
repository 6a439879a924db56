"""What a style did when it was learned: kept in few numbers, and what became of it since."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.config.schema import GateConfig
from museum_plugin.errors import MuseumFileError
from museum_plugin.judge.as_learned import (
    SKETCH,
    AsLearned,
    as_learned,
    effect_kept,
    pictures_moved,
    sketch,
    with_as_learned,
)
from museum_plugin.judge.gate import objections
from museum_plugin.judge.prediction_drift import fixed_triples, predictions
from museum_plugin.judge.retention import BASE, NO_TRIGGER, Exhibition, judge, look_at
from museum_plugin.judge.signature import Signature, distance, signature
from museum_plugin.museum.ledger import AS_LEARNED
from museum_plugin.museum.museum import Museum
from tests.tiny_museums import hooks, shake, tiny_museum

EXHIBITION = Exhibition(("a red cat", "two fish"), (3, 4), SamplingPlan(64, 64, steps=1))


def vector(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def at(place: float) -> Signature:
    return Signature(vector(place, 0.0), torch.eye(2, dtype=torch.float64))


def random(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_sketch_keeps_lengths_and_angles_and_is_linear() -> None:
    a, b = random(6000, 1), random(6000, 2)
    for values in (a, b, a - b, a + 3 * b):
        assert sketch(values).norm().item() == pytest.approx(values.square().mean().sqrt().item(), rel=0.15)
    assert (sketch(a) @ sketch(a + b)).item() == pytest.approx((a @ (a + b) / 6000).item(), abs=0.3)
    assert torch.allclose(sketch(a) - 2 * sketch(b), sketch(a - 2 * b), atol=1e-12)
    assert sketch(a).shape == (SKETCH,)
    assert torch.equal(sketch(a.view(2, 3, 1000)), sketch(a)), "the same whatever the shape, and every time"


def test_a_sketch_adds_each_number_with_its_sign_to_one_entry() -> None:
    one = torch.zeros(9, dtype=torch.float64)
    one[4] = 6.0
    found = sketch(one, size=5)
    assert sorted(found.abs().tolist()) == [0, 0, 0, 0, 2], "divided by the root of their count"


@pytest.mark.parametrize(
    ("now", "expected"),
    [((3.0, 0.0), 1.0), ((1.5, 0.0), 0.5), ((6.0, 0.0), 0.5), ((0.0, 0.0), 0.0), ((0.0, 3.0), 0.0),
     ((-3.0, 0.0), -1.0), ((3.0, 4.0), 9 / 25)],
)  # fmt: skip
def test_an_effect_that_is_weaker_stronger_or_another_is_kept_in_part(
    now: tuple[float, float], expected: float
) -> None:
    assert effect_kept(vector(*now), vector(3, 0), usual=3.0) == pytest.approx(expected)
    assert effect_kept(vector(3, 0), vector(*now), usual=3.0) == pytest.approx(expected), "whichever came first"


def test_a_style_that_hardly_does_anything_cannot_lose_much() -> None:
    weak, gone = vector(0.3, 0), vector(0, 0)
    assert effect_kept(gone, weak, usual=0.3) == 0
    assert effect_kept(gone, weak, usual=3.0) == pytest.approx(1 - 0.3**2 / 1.5**2)
    assert effect_kept(gone, gone, usual=0.0) == 1
    assert effect_kept(gone, vector(0.001, 0), usual=0.0) == pytest.approx(0.99), "rounding is no effect"


def test_pictures_move_by_a_share_of_the_way_from_the_base() -> None:
    assert pictures_moved(at(4), at(4), at(0), 4) == 0
    assert pictures_moved(at(3), at(4), at(0), 4) == pytest.approx(1 / 4)
    assert pictures_moved(at(8), at(4), at(0), 4) == pytest.approx(1 / 2), "on the far side as on the near one"
    assert pictures_moved(at(0), at(4), at(0), 4) == pytest.approx(1)
    assert pictures_moved(at(0.1), at(0), at(0), 4) == pytest.approx(0.1 / 2), "near the base, by the usual way"
    assert pictures_moved(at(0), at(0), at(0), 0) == 0


def test_it_goes_through_json_and_is_written_once() -> None:
    found = AsLearned(signature(torch.randn(2, 4, 8, 8)), random(SKETCH, 1))
    again = AsLearned.from_dict(json.loads(json.dumps(found.to_dict())))
    assert torch.allclose(again.effect, found.effect, rtol=1e-3)
    assert distance(again.drawn, found.drawn) < 1e-4
    assert again.strength == pytest.approx(found.strength, rel=1e-3)


@pytest.mark.parametrize("damage", [{"effect": [1.0]}, {"effect": [math.nan] * SKETCH}, {"drawn": {}}, {"effect": "a"}])
def test_damaged_numbers_are_a_users_error(damage: dict) -> None:
    told = AsLearned(signature(torch.randn(2, 4, 8, 8)), random(SKETCH, 1)).to_dict()
    with pytest.raises(MuseumFileError, match="damaged"):
        AsLearned.from_dict({**told, **damage})
    with pytest.raises(MuseumFileError, match="damaged"):
        AsLearned.from_dict({name: value for name, value in told.items() if name not in damage})


@pytest.fixture
def museum(base: BaseModel) -> Museum:
    """Knows ink, with all that a museum remembers of it."""
    found = tiny_museum(base, "ink")
    with found.attached():
        seen = look_at(found, EXHIBITION, ["ink"])["ink"]
    record = replace(found.ledger.styles[0], signature=seen.drawn.to_dict(), scores={"ink": 1.0})
    found.ledger = replace(found.ledger, styles=(with_as_learned(record, seen),))
    return found


def test_the_effect_is_that_on_the_bases_own_pictures_under_fixed_noise(museum: Museum) -> None:
    record = museum.ledger.styles[0]
    assert as_learned([record, replace(record, extra={})]).keys() == {"ink"}
    assert with_as_learned(record, AsLearned(at(0), vector(0))) is record, "what is known stays"
    learned = AsLearned.from_dict(record.extra[AS_LEARNED])
    with museum.attached(), torch.no_grad():
        verdict = judge(museum, EXHIBITION, {"ink": learned.drawn}, learned={"ink": learned})
        triples = fixed_triples(Denoiser(museum.base), verdict.latents[BASE], EXHIBITION.seeds)
        word = museum.phrase("ink")
        prompts = [f"{prompt} in {word} style" for prompt in EXHIBITION.prompts]
        states = encode_prompts(museum.base, prompts)
        now = [
            Denoiser(museum.base).predict(triples.noisy[i : i + 2], triples.t[i : i + 2], states) for i in (0, 2, 4, 6)
        ]
        plain = predictions(museum, triples, EXHIBITION.prompts, EXHIBITION.plan.text)
        with museum.disabled():
            bare = predictions(museum, triples, EXHIBITION.prompts, EXHIBITION.plan.text)
        one_by_one = predictions(museum, triples, EXHIBITION.prompts, EXHIBITION.plan.text, at_once=1)
    assert torch.allclose(one_by_one, plain, atol=1e-5)
    effect = sketch(torch.cat(now) - bare)
    assert torch.allclose(effect, verdict.seen["ink"].effect, atol=1e-6)
    assert verdict.effect_kept["ink"] == pytest.approx(1, abs=1e-3)
    assert verdict.pictures_moved["ink"] == pytest.approx(0, abs=1e-3)
    moved = (plain - bare).square().mean().sqrt().item()
    assert verdict.neutral_moved == pytest.approx(moved / learned.strength, rel=1e-3)
    assert hooks(museum.base) == 0


def test_styles_of_which_nothing_is_known_are_only_looked_at(museum: Museum) -> None:
    with museum.attached():
        seen = look_at(museum, EXHIBITION, ["ink"])["ink"]
        verdict = judge(museum, EXHIBITION, {"ink": seen.drawn}, learned={"gone": seen})
    assert verdict.effect_kept == {}
    assert verdict.pictures_moved == {}
    assert torch.equal(verdict.seen["ink"].effect, seen.effect)


def test_a_style_that_is_new_does_not_set_the_scale(museum: Museum, base: BaseModel) -> None:
    """Else the old ones would seem to lose little beside one that was taught much too strongly."""
    learned = as_learned(museum.ledger.styles)
    harmed = tiny_museum(base, "ink", "neon")
    shake(harmed.network, torch.Generator().manual_seed(2), 0.2)
    own = {"ink": learned["ink"].drawn, "neon": signature(torch.randn(2, 4, 8, 8))}
    with harmed.attached():
        alone = judge(harmed, EXHIBITION, {"ink": own["ink"]}, learned=learned)
        beside = judge(harmed, EXHIBITION, own, learned=learned)
    assert beside.effect_kept == alone.effect_kept
    assert beside.pictures_moved == alone.pictures_moved
    assert beside.neutral_moved == alone.neutral_moved > 0


def test_small_harms_add_up_until_the_gate_objects(museum: Museum) -> None:
    """Each step does little to the museum before it; what was learned is what counts."""
    learned, rng = as_learned(museum.ledger.styles), torch.Generator().manual_seed(1)
    signatures = {name: seen.drawn for name, seen in learned.items()}
    gate, kept, since_last = GateConfig(drift=9, neutral=9, pictures=9), [], []
    with museum.attached():
        last = learned
        for _ in range(6):
            shake(museum.network, rng, 0.1)
            verdict = judge(museum, EXHIBITION, signatures, learned=learned)
            now, was = verdict.seen["ink"], last["ink"]
            since_last.append(effect_kept(now.effect, was.effect, was.strength))
            last = verdict.seen
            kept.append(verdict.effect_kept["ink"])
            if objections(verdict, {"ink": 1.0}, gate):
                break
    assert kept[0] > gate.effect, "the first step passes"
    assert kept[-1] < gate.effect, "the chain does not"
    assert min(since_last) > gate.effect, "though no step does by itself"
    assert NO_TRIGGER not in verdict.effect_kept
