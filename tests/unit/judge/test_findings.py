"""All measures of a museum on a tiny base, against the museum before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.config.schema import GateConfig
from museum_plugin.judge.findings import Findings, examine
from museum_plugin.judge.retention import BASE, NO_TRIGGER, Exhibition
from museum_plugin.judge.signature import signature
from museum_plugin.museum.museum import Museum
from tests.tiny_museums import hooks, shake, tiny_museum

EXHIBITION = Exhibition(("a red cat", "two fish"), (3, 4), SamplingPlan(64, 64, steps=1))


def measurable(museum: Museum) -> Museum:
    """With signatures, and scores as after each style."""
    rng, styles = torch.Generator().manual_seed(7), []
    for i, record in enumerate(museum.ledger.styles):
        seen = signature(5 * torch.randn(3, 4, 8, 8, generator=rng) + i)
        styles.append(replace(record, signature=seen.to_dict(), scores={record.name: 0.5}))
    museum.ledger = replace(museum.ledger, styles=tuple(styles))
    return museum


@pytest.fixture(scope="module")
def earlier(base: BaseModel) -> Museum:
    return measurable(tiny_museum(base, "ink"))


@pytest.fixture(scope="module")
def now(base: BaseModel) -> Museum:
    return measurable(tiny_museum(base, "ink", "neon"))


@pytest.fixture(scope="module")
def found(now: Museum, earlier: Museum) -> Findings:
    return examine(now, earlier, EXHIBITION)


def test_old_styles_are_those_of_the_museum_before(found: Findings) -> None:
    assert found.learned == {"ink": 0.5}
    assert list(found.before) == [NO_TRIGGER, "ink"]
    assert list(found.prediction_drift) == [NO_TRIGGER, "ink"]
    assert list(found.statistics_shift) == ["ink"]
    assert found.verdict.names == ("ink", "neon")
    assert all(sum(row.values()) == 1 for row in found.confusion.values())
    assert list(found.confusion["ink"]) == ["ink", "neon", BASE]


def test_measuring_twice_gives_the_same_and_leaves_nothing_behind(
    base: BaseModel, now: Museum, earlier: Museum, found: Findings
) -> None:
    assert examine(now, earlier, EXHIBITION).to_dict() == found.to_dict()
    assert hooks(base) == 0
    known = examine(now, earlier, EXHIBITION, base_latents=found.verdict.latents[BASE], before=found.before)
    assert known.to_dict() == found.to_dict()


def test_a_museum_has_not_moved_from_itself(now: Museum) -> None:
    found = examine(now, now, EXHIBITION)
    assert found.statistics_shift == {"ink": 0.0, "neon": 0.0}
    assert (found.prediction_drift["ink"], found.prediction_drift["neon"]) == (0.0, 0.0)
    assert found.prediction_drift[NO_TRIGGER] > 0  # its LoRA acts on every prompt


def test_more_damage_is_more_drift(base: BaseModel, earlier: Museum) -> None:
    drifts, neutral = [], []
    for size in (0.01, 0.1, 1.0):
        damaged = measurable(tiny_museum(base, "ink"))
        shake(damaged.network, torch.Generator().manual_seed(3), size)
        found = examine(damaged, earlier, EXHIBITION)
        drifts.append(found.prediction_drift["ink"])
        neutral.append(found.prediction_drift[NO_TRIGGER])
    assert drifts == sorted(drifts)
    assert drifts[0] > 0
    assert neutral[0] < neutral[2]


def test_an_empty_lora_leaves_prompts_without_a_trigger_alone(base: BaseModel) -> None:
    museum = measurable(tiny_museum(base, "ink"))
    with torch.no_grad():
        for layer in museum.network.layers.values():
            layer.up.zero_()
    found = examine(museum, None, EXHIBITION)
    assert found.prediction_drift == {NO_TRIGGER: 0.0}
    assert found.statistics_shift == {}
    assert found.before == {}
    assert found.learned == {}


def test_training_pictures_tell_what_was_memorized(now: Museum, found: Findings) -> None:
    drawn = found.verdict.latents["neon"]
    training = torch.cat([drawn[:1], drawn[:1] + 9])
    seen = examine(now, None, EXHIBITION, {"neon": training}, base_latents=found.verdict.latents[BASE])
    assert list(seen.memorization) == ["neon"]
    assert seen.memorization["neon"].ratios[0] == 0
    assert seen.memorization["neon"].nearest[0] == 0


def test_numbers_go_into_json_and_the_gate_speaks(found: Findings) -> None:
    told = found.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["kept"] == found.verdict.kept({"ink": 0.5})
    assert (told["effect_kept"], told["pictures_moved"]) == ({}, {}), "nothing is known of when they were learned"
    assert told["neutral_moved"] == found.verdict.neutral_moved > 0
    assert told["verdict"] == found.verdict.sentences({"ink": 0.5})
    assert found.objections(GateConfig(kept=0.0, learned=0.0, drift=1e9, neutral=1e9)) == []
    assert any("neon" in text for text in found.objections(GateConfig(kept=0.0, learned=1.0, drift=1e9, neutral=1e9)))
