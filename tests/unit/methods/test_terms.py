"""The terms of the methods, and the tables of both."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import BaseModel
from museum_plugin.base.sampler import SamplingPlan
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.errors import ConfigError
from museum_plugin.methods import METHODS, TERMS, build_terms, moments
from museum_plugin.methods.bank import BankPlan, ReplayBatch, fill_bank
from museum_plugin.methods.method import Step, StyleStart
from museum_plugin.methods.moments import input_moments
from museum_plugin.methods.museum import FeatureLock, FunctionLock
from museum_plugin.methods.paper import FeatureRegularization, StyleDistillation, WeightRegularization
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache
from tests.tiny_museums import prediction, shake, tiny_museum


def test_methods_name_terms_and_their_weights() -> None:
    assert build_terms("finetune", {}) == {}
    for method, weights in METHODS.items():
        terms = build_terms(method, {})
        assert {name: weight for name, (_, weight) in terms.items()} == weights
        assert all(type(term) is TERMS[name] for name, (term, _) in terms.items())


def test_weights_of_the_user_win_and_zero_drops_a_term() -> None:
    terms = build_terms("paper", {"style_distillation": 0.5, "weight_regularization": 0, "function_lock": 2})
    assert {name: weight for name, (_, weight) in terms.items()} == {
        "style_distillation": 0.5,
        "feature_regularization": METHODS["paper"]["feature_regularization"],
        "function_lock": 2,
    }


@pytest.mark.parametrize(("method", "weights", "named"), [("x", {}, "'x'.*finetune"), ("paper", {"y": 1}, "'y'.*lock")])
def test_unknown_names_are_refused(method: str, weights: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build_terms(method, weights)


def start(museum: Museum, **more: object) -> StyleStart:
    given = {"bank": None, "moments": {}, "style_means": {}, **more}
    return StyleStart(museum, **given)  # type: ignore[arg-type]


def step(**more: object) -> Step:
    pred_x0 = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    given = {"prediction_type": "epsilon", **more}
    return Step(torch.tensor([10, 900]), torch.tensor([0.9, 0.1]), pred_x0=pred_x0, **given)  # type: ignore[arg-type]


def replayed(pred: Tensor, groups: tuple[int, ...], features: tuple[Tensor, ...] = ()) -> ReplayBatch:
    count = len(groups)
    return ReplayBatch(torch.zeros(count, 1), torch.zeros(count), ("",) * count, pred, features, groups)


def test_the_function_lock_weighs_every_group_alike(base: BaseModel) -> None:
    museum, lock = tiny_museum(base), FunctionLock()
    teacher, student = torch.zeros(3, 4), torch.tensor([[1.0] * 4, [2.0] * 4, [3.0] * 4], requires_grad=True)
    noisy, clean = torch.full((3,), 0.5), torch.full((3,), 50 / 51)  # SNR 1 and 50
    done = step(replay=replayed(teacher, (0, 0, 1)), replay_pred=student, replay_alpha_bar=noisy)
    penalty = lock.penalty(museum, done)
    assert penalty is not None
    assert penalty.item() == pytest.approx(((1 + 4) / 2 + 9) / 2)
    little = lock.penalty(museum, dataclasses.replace(done, replay_alpha_bar=clean))
    assert little is not None
    assert little.item() == pytest.approx(penalty.item() / 10, rel=1e-4), "weighted by min(SNR, 5) / SNR"
    assert lock.penalty(museum, step()) is None, "there is no bank"


def test_the_style_distillation_pulls_toward_the_mean_of_its_bucket(base: BaseModel) -> None:
    museum, term, done = tiny_museum(base), StyleDistillation(), step()
    term.begin_style(start(museum, style_means={(8, 8): done.pred_x0[0].detach() * 0}))
    far = term.penalty(museum, done)
    near = term.penalty(museum, dataclasses.replace(done, pred_x0=done.pred_x0 * 0.1))
    noisy = term.penalty(museum, dataclasses.replace(done, alpha_bar=done.alpha_bar / 100))
    assert far is not None
    assert near is not None
    assert noisy is not None
    assert 0 < near < 0.1 * far
    assert noisy.item() == pytest.approx(far.item() / 100, rel=1e-4)
    other_bucket = dataclasses.replace(done, pred_x0=torch.zeros(1, 4, 8, 16))
    assert term.penalty(museum, other_bucket) is None


def test_the_weight_regularization_holds_a_direction_once_there_is_one(base: BaseModel) -> None:
    term, museum = WeightRegularization(), tiny_museum(base)
    term.begin_style(start(museum))
    assert term.penalty(museum, step()) is None
    museum = tiny_museum(base, "ink")
    term.begin_style(start(museum))
    unmoved = term.penalty(museum, step())
    shake(museum.network, torch.Generator().manual_seed(9))
    turned = term.penalty(museum, step())
    assert unmoved is not None
    assert turned is not None
    assert abs(unmoved.item()) < 1e-5
    assert turned.item() > 0.05


def test_the_feature_regularization_compares_blocks(base: BaseModel) -> None:
    museum, term = tiny_museum(base), FeatureRegularization()
    before = torch.full((2, 3, 1, 1), 2.0)
    done = step(replay=replayed(torch.zeros(2, 4), (0, 1), (before,)), features=(before + 1,))
    penalty = term.penalty(museum, done)
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.25)
    assert term.penalty(museum, step()) is None, "there is no bank"


@pytest.fixture
def taught(base: BaseModel) -> Museum:
    return tiny_museum(base, "ink")


def plan(**more: object) -> BankPlan:
    sampling = SamplingPlan(64, 64, steps=3, guidance=3.0)
    return BankPlan(2, 2, ("a cat", "a dog"), sampling, seed=1, **more)  # type: ignore[arg-type]


def test_the_feature_lock_is_zero_until_the_lora_moves(base: BaseModel, taught: Museum) -> None:
    lock = FeatureLock()
    with taught.attached():
        bank = fill_bank(taught, plan())
        lock.begin_style(start(taught, moments=input_moments(bank, taught, StateCache(taught, TextEncoding()), 6)))
    unmoved = lock.penalty(taught, step())
    shake(taught.network, torch.Generator().manual_seed(9), size=0.1)
    little = lock.penalty(taught, step())
    shake(taught.network, torch.Generator().manual_seed(10), size=0.3)
    much = lock.penalty(taught, step())
    assert unmoved is not None
    assert little is not None
    assert much is not None
    assert abs(unmoved.item()) < 1e-6 < little.item() < much.item()
    little.backward()
    assert all(parameter.grad is not None for parameter in taught.network.parameters())
    lock.begin_style(start(taught))
    assert lock.penalty(taught, step()) is None, "there is no bank"


def test_the_feature_lock_keeps_less_where_memory_is_short_and_gives_the_same(taught: Museum) -> None:
    lock, found, kept = FeatureLock(), [], []
    with taught.attached():
        bank = fill_bank(taught, plan())
        lock.begin_style(start(taught, moments=input_moments(bank, taught, StateCache(taught, TextEncoding()), 6)))
    shake(taught.network, torch.Generator().manual_seed(9), size=0.1)
    for short in (False, True):
        saved: list[int] = []

        def note(tensor: Tensor, saved: list[int] = saved) -> Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            penalty = lock.penalty(taught, dataclasses.replace(step(), memory_is_short=short))
        assert penalty is not None
        kept.append(sum(saved))
        found.append([penalty, *torch.autograd.grad(penalty, list(taught.network.parameters()))])
    assert kept[1] < 0.1 * kept[0]
    torch.testing.assert_close(found[1], found[0])


def test_moments_are_those_of_the_inputs_that_the_teachers_see(
    base: BaseModel, taught: Museum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "_ROWS", 10**6)  # all of them
    key = "lora_unet_up_blocks_3_attentions_0_proj_in"
    module, states = taught.network.targets[key], StateCache(taught, TextEncoding())
    sums: dict[int, list[Tensor]] = {0: [], 1: []}
    with taught.attached():
        bank = fill_bank(taught, plan())
        found = input_moments(bank, taught, states, per_group=6)
        assert set(found) == set(taught.network.targets)
        denoiser = Denoiser(base)
        for anchor in bank.thinned(6):
            seen: list[Tensor] = []
            hook = module.register_forward_pre_hook(lambda _module, inputs, seen=seen: seen.append(inputs[0]))
            with torch.no_grad():
                if anchor.group == 0:
                    with taught.disabled():
                        denoiser.predict(anchor.noisy[None], torch.tensor([anchor.t]), states.states([anchor.prompt]))
                else:
                    denoiser.predict(anchor.noisy[None], torch.tensor([anchor.t]), states.states([anchor.prompt]))
            hook.remove()
            rows = seen[0][0].flatten(1).T.double()
            sums[anchor.group].append(rows.T @ rows / len(rows))
    expected = sum(torch.stack(group).mean(0) for group in sums.values()) / 2
    moment = found[key].second_moment
    whole = (moment.factor @ moment.factor.T).double() + moment.rest.double() * torch.eye(len(moment.factor))
    torch.testing.assert_close(whole, expected, atol=1e-4, rtol=1e-3)
    weight = module.weight.detach().double().flatten(1)
    assert found[key].energy.item() == pytest.approx((weight @ expected @ weight.T).trace().item(), rel=1e-3)
    before = prediction(base)
    assert torch.equal(prediction(base), before)
