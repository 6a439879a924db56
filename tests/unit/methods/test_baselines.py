"""The terms of the baselines, and what they are given."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.flags import BY_NAME
from museum_plugin.config.schema import MethodConfig
from museum_plugin.methods import METHODS, TERMS, grows
from museum_plugin.methods.bank import Bank, BankPlan, ReplayBatch, fill_bank
from museum_plugin.methods.clora import SelfRegularization
from museum_plugin.methods.ewc import ElasticWeights
from museum_plugin.methods.fisher import fisher_information
from museum_plugin.methods.lwf import OldPredictions
from museum_plugin.methods.material import Material, gather_material
from museum_plugin.methods.method import Step, StyleStart
from museum_plugin.methods.museum import FunctionLock
from museum_plugin.methods.new_pictures import anchors_on_new_pictures
from museum_plugin.methods.olora import Orthogonality
from museum_plugin.methods.paper import FeatureRegularization
from museum_plugin.museum.growth import add_block
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache
from tests.tiny_museums import WORDS, prediction, shake, tiny_museum

PLAN = BankPlan(
    per_style=2,
    neutral=2,
    contents=("a cat", "a dog"),
    sampling=SamplingPlan(64, 64, steps=2, guidance=3.0),
    seed=4,
    pictures=(
        (torch.full((4, 8, 8), 0.5), "a fish"),
        (torch.full((4, 8, 16), 0.5), "a wide one"),
        (torch.full((4, 8, 8), -0.5), "a bird"),
    ),
)


def start(museum: Museum, **more: object) -> StyleStart:
    given = {"bank": None, "moments": {}, "style_means": {}, **more}
    return StyleStart(museum, **given)  # type: ignore[arg-type]


def step(**more: object) -> Step:
    t, alpha_bar = torch.tensor([10]), torch.tensor([0.9])
    return Step(t, alpha_bar, "epsilon", torch.zeros(1, 4, 8, 8), **more)  # type: ignore[arg-type]


def value(penalty: Tensor | None) -> float:
    assert penalty is not None
    return penalty.item()


def fisher(museum: Museum, bank: Bank, *, per_group: int = 2, seed: int = 3) -> dict[str, Tensor]:
    with museum.attached():
        return fisher_information(bank, museum, StateCache(museum, TextEncoding()), per_group, seed)


@pytest.fixture(scope="module")
def museum(base: BaseModel) -> Museum:
    return tiny_museum(base, "ink", "neon")


@pytest.fixture(scope="module")
def bank(museum: Museum) -> Bank:
    with museum.attached():
        return fill_bank(museum, PLAN)


def test_fisher_is_the_mean_squared_gradient_of_each_old_styles_predictions(museum: Museum, bank: Bank) -> None:
    key = "lora_unet_up_blocks_3_attentions_0_proj_in.up"
    parameter = dict(museum.network.named_parameters())[key]
    expected, rng = torch.zeros_like(parameter, dtype=torch.float64), torch.Generator().manual_seed(3)
    denoiser = Denoiser(museum.base)
    with museum.attached():
        for anchor in (anchor for anchor in bank.thinned(2) if anchor.group):
            noise = torch.randn(4, 8, 8, generator=rng)
            text = encode_prompts(museum.base, [anchor.prompt]).to(torch.float32)
            pred = denoiser.predict(anchor.noisy[None], torch.tensor([anchor.t]), text)[0]
            (gradient,) = torch.autograd.grad((pred * noise).sum() / 16, parameter)
            expected += gradient.double().square() / 3 / 2  # two anchors with a prompt and one without; two styles
    found = fisher(museum, bank)
    assert set(found) == {name for name, _ in museum.network.named_parameters()}
    torch.testing.assert_close(found[key].double(), expected, rtol=1e-3, atol=1e-9)
    assert all(p.grad is None for p in museum.network.parameters())


def test_fisher_depends_on_its_arguments_alone(museum: Museum, bank: Bank) -> None:
    usual, again = fisher(museum, bank), fisher(museum, bank)
    assert all(torch.equal(usual[name], again[name]) for name in usual)
    for other in (fisher(museum, bank, seed=4), fisher(museum, bank, per_group=1)):
        assert any(not torch.equal(usual[name], other[name]) for name in usual)
    assert fisher(museum, Bank(bank.groups, [a for a in bank.anchors if a.group == 0])) == {}, "no old style"


def test_fisher_reaches_the_text_encoder_where_that_is_trained(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink", with_text_encoder=True)
    with museum.attached():
        found = fisher(museum, fill_bank(museum, PLAN))
    text = [tensor for name, tensor in found.items() if name.startswith("lora_te")]
    assert text
    assert all(bool(tensor.any()) for tensor in text)


def test_elastic_weights_hold_what_old_styles_depend_on(base: BaseModel) -> None:
    museum, term = tiny_museum(base, "ink"), ElasticWeights()
    name, parameter = next(iter(museum.network.named_parameters()))
    term.begin_style(start(museum, fisher={name: torch.full_like(parameter, 2.0)}))
    assert value(term.penalty(museum, step())) == 0
    with torch.no_grad():
        parameter[0, 0] += 3
    assert value(term.penalty(museum, step())) == pytest.approx(2 * 9, rel=1e-5)
    others = [p for n, p in museum.network.named_parameters() if n != name]
    with torch.no_grad():
        others[0] += 1
    assert value(term.penalty(museum, step())) == pytest.approx(2 * 9, rel=1e-5)
    term.begin_style(start(museum))
    assert term.penalty(museum, step()) is None, "no old style"


def test_new_pictures_carry_the_previous_museums_predictions_under_old_triggers(museum: Museum) -> None:
    states, denoiser = StateCache(museum, TextEncoding()), Denoiser(museum.base)
    with museum.attached(), torch.no_grad():
        anchors = anchors_on_new_pictures(museum, PLAN, states, first_group=3)
        again = anchors_on_new_pictures(museum, PLAN, states, first_group=3)
        other = anchors_on_new_pictures(museum, dataclasses.replace(PLAN, seed=5), states, first_group=3)
        assert Counter(a.group for a in anchors) == {3: 2 * 2, 4: 2 * 2}
        for anchor in anchors:
            text = encode_prompts(museum.base, [anchor.prompt])
            pred = denoiser.predict(anchor.noisy[None], torch.tensor([anchor.t]), text)[0]
            torch.testing.assert_close(anchor.pred.float(), pred, atol=1e-5, rtol=6e-4)
    assert {a.prompt for a in anchors if a.group == 3} == {f"{x} in {WORDS['ink']} style" for x in ("a fish", "a bird")}
    assert {a.t for a in anchors} == {250, 750}
    assert all(a.new_picture and a.noisy.shape == (4, 8, 8) for a in anchors), "of the commonest size"
    assert all(torch.equal(a.noisy, b.noisy) for a, b in zip(anchors, again, strict=True))
    assert not any(torch.equal(a.noisy, b.noisy) for a, b in zip(anchors, other, strict=True))


def replayed(**more: object) -> ReplayBatch:
    zeros = torch.zeros(3, 4)
    return ReplayBatch(zeros, torch.zeros(3), ("",) * 3, zeros, (zeros + 1,), (1, 4, 4), **more)  # type: ignore[arg-type]


def test_each_term_takes_its_own_kind_of_anchors(museum: Museum) -> None:
    student = torch.tensor([[1.0] * 4, [2.0] * 4, [4.0] * 4])
    mixed = step(
        replay=replayed(new_pictures=(False, True, True)),
        replay_pred=student,
        replay_alpha_bar=torch.full((3,), 0.5),
        features=(student + 1,),
    )
    assert value(OldPredictions().penalty(museum, mixed)) == pytest.approx((2**2 + 4**2) / 2)
    assert value(FunctionLock().penalty(museum, mixed)) == pytest.approx(1)
    assert value(FeatureRegularization().penalty(museum, mixed)) == pytest.approx(1)
    drawn = dataclasses.replace(mixed, replay=replayed())
    assert OldPredictions().penalty(museum, drawn) is None
    assert value(FunctionLock().penalty(museum, drawn)) == pytest.approx((1 + (2**2 + 4**2) / 2) / 2)
    new = dataclasses.replace(mixed, replay=replayed(new_pictures=(True,) * 3))
    assert FunctionLock().penalty(museum, new) is None
    assert FeatureRegularization().penalty(museum, new) is None
    assert OldPredictions().penalty(museum, step()) is None, "there is no old style"


def test_material_is_what_the_terms_ask_for(museum: Museum, base: BaseModel) -> None:
    def gathered(*terms: str, of: Museum = museum) -> Material:
        every = [TERMS[term]() for term in terms]
        with of.attached():
            return gather_material(of, every, PLAN, TextEncoding(), lambda done: None)

    elastic = gathered("elastic_weights")
    assert elastic.bank is None, "no step predicts a bank"
    assert elastic.fisher
    own = gathered("old_predictions")
    assert own.bank is not None
    assert all(anchor.new_picture and anchor.group for anchor in own.bank.anchors)
    assert not own.fisher
    both = gathered("old_predictions", "function_lock")
    assert both.bank is not None
    assert both.bank.groups == ("no trigger", "ink", "neon", "ink, new pictures", "neon, new pictures")
    assert {anchor.group for anchor in both.bank.anchors if anchor.new_picture} == {3, 4}
    first = gathered("old_predictions", "elastic_weights", of=tiny_museum(base))
    assert first.bank is None
    assert first.fisher == {}


def test_self_regularization_begins_with_the_second_style(base: BaseModel) -> None:
    term, museum = SelfRegularization(), tiny_museum(base)
    term.begin_style(start(museum))
    assert term.penalty(museum, step()) is None
    museum = tiny_museum(base, "ink")
    term.begin_style(start(museum))
    assert value(term.penalty(museum, step())) == pytest.approx(0, abs=1e-12)
    shake(museum.network, torch.Generator().manual_seed(9))
    assert value(term.penalty(museum, step())) > 0.01


def test_a_rank_block_of_a_style_learns_alone(base: BaseModel) -> None:
    term, museum = Orthogonality(), tiny_museum(base, "ink")
    with museum.attached():
        before = prediction(base)
    old = {
        key: (layer.down.detach().clone(), layer.up.detach().clone()) for key, layer in museum.network.layers.items()
    }
    add_block(museum, 3)
    term.begin_style(start(museum, block=3))
    with museum.attached():
        torch.testing.assert_close(prediction(base), before, atol=1e-6, rtol=1e-5)
    optimizer = torch.optim.AdamW(museum.network.parameters(), lr=0.1, weight_decay=0.5)
    penalties = []
    for _ in range(20):
        optimizer.zero_grad()
        penalty = term.penalty(museum, step())
        assert penalty is not None
        (penalty + sum(layer.up.square().mean() for layer in museum.network.layers.values())).backward()
        term.after_backward(museum)
        optimizer.step()
        term.after_step(museum)
        penalties.append(penalty.item())
    assert penalties[-1] < 0.2 * penalties[0]
    for key, layer in museum.network.layers.items():
        assert layer.down.shape[0] == layer.up.shape[1] == 5
        assert torch.equal(layer.down[:2], old[key][0])
        assert torch.equal(layer.up[:, :2], old[key][1])
    with torch.no_grad():
        museum.network.layers[key].down.zero_()
    term.end_style(museum)
    assert torch.equal(museum.network.layers[key].down[:2], old[key][0])


def test_a_first_style_needs_no_block(base: BaseModel) -> None:
    term, museum = Orthogonality(), tiny_museum(base)
    term.begin_style(start(museum))
    assert term.penalty(museum, step()) is None


def test_the_flag_names_every_method() -> None:
    said = BY_NAME["method"].help
    assert all(method in said for method in METHODS)


def test_only_methods_with_rank_blocks_grow() -> None:
    assert [name for name in METHODS if grows(MethodConfig(name))] == ["olora"]
    assert grows(MethodConfig("museum", {"orthogonality": 0.5}))
    assert not grows(MethodConfig("olora", {"orthogonality": 0}))
