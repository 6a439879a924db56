"""One forward pass of the student, and the loss terms that come of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.schedule import with_zero_terminal_snr
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.config.schema import LossConfig
from museum_plugin.losses.denoising import denoising_loss, min_snr_weight
from museum_plugin.methods.bank import ReplayBatch
from museum_plugin.methods.method import REPLAY, Reads, Step, Term
from museum_plugin.museum.museum import Museum
from museum_plugin.train.step import (
    Pass,
    PassOptions,
    ReplayInputs,
    StyleBatch,
    fits_beside,
    loss_terms,
    not_finite,
    not_finite_error,
    penalties,
    replay_pass,
    rng_for,
    some_of,
    student_pass,
)
from tests.tiny_models import write_tiny_base
from tests.tiny_museums import WORDS, tiny_museum

PROMPTS = ("a red cat", "a dog")


def batch() -> StyleBatch:
    return StyleBatch(torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), PROMPTS, torch.ones(2))


def replay(base: BaseModel, side: int = 8) -> ReplayInputs:
    noisy = torch.randn(3, 4, side, side, generator=torch.Generator().manual_seed(1))
    prompts = ("a cat", "", "a fish")
    anchors = ReplayBatch(noisy, torch.tensor([5, 500, 900]), prompts, torch.zeros_like(noisy), (), (0, 1, 1))
    with torch.no_grad():
        return ReplayInputs(anchors, encode_prompts(base, prompts))


def run(museum: Museum, given: ReplayInputs | None = None, *, seed: int = 0, **options: object) -> Pass:
    """A pass over the pictures, and where the bank has a batch, one over that."""
    settings = PassOptions(**{"loss": LossConfig(), "text": TextEncoding(), **options})  # type: ignore[arg-type]
    with museum.attached(), torch.no_grad():
        denoiser = Denoiser(museum.base)
        done = student_pass(museum, denoiser, batch(), rng_for(seed, "ink", 0), settings)
        if given is None:
            return done
        return dataclasses.replace(done, step=replay_pass(denoiser, done.step, given, settings.watched))


@pytest.mark.parametrize("change", [{"seed": 1}, {"style": "neon"}, {"step": 1}, {"part": 1}])
def test_random_numbers_depend_on_all_that_names_a_step(change: dict[str, object]) -> None:
    usual = {"seed": 0, "style": "ink", "step": 0, "part": 0}

    def drawn(key: dict[str, object]) -> tuple[float, float]:
        rng = rng_for(**key)  # type: ignore[arg-type]
        return torch.rand(1, generator=rng.tensor).item(), rng.python.random()

    assert drawn(usual) == drawn(usual)
    one, other = drawn(usual), drawn({**usual, **change})
    assert one[0] != other[0]
    assert one[1] != other[1]


def test_a_share_of_the_samples_is_read_without_slots(base: BaseModel) -> None:
    """Two of two samples alike: with a share of one half, one of them has the plain word."""
    museum = tiny_museum(base, "ink")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    shown = StyleBatch(latents, (f"a cat in {WORDS['ink']} style",) * 2, torch.ones(2))

    def states_seen(share: float) -> Tensor:
        found: list[Tensor] = []
        hook = base.text_encoders[0].register_forward_hook(lambda *args: found.append(args[-1].last_hidden_state))
        options = PassOptions(LossConfig(), TextEncoding(), slot_dropout=share)
        with museum.attached(), torch.no_grad():
            student_pass(museum, Denoiser(base), shown, rng_for(0, "ink", 0), options)
        hook.remove()
        return found[0]

    with museum.attached(), torch.no_grad(), museum.slots.disabled():
        bare = encode_prompts(base, shown.prompts[:1]).states[0]
    assert not any(torch.equal(row, bare) for row in states_seen(0.0))
    assert sum(torch.equal(row, bare) for row in states_seen(0.5)) == 1


def test_marks_are_spread_evenly_and_drawn_anew() -> None:
    drawn = [some_of(4, 0.3, Random(i)) for i in range(2000)]
    assert {sum(marks) for marks in drawn} == {1, 2}
    for place in range(4):
        assert abs(sum(marks[place] for marks in drawn) / 2000 - 0.3) < 0.04
    assert some_of(4, 0.3, Random(1)) == some_of(4, 0.3, Random(1))
    assert not any(some_of(4, 0.0, Random(1)))


def test_beside_the_pictures_the_bank_is_predicted_as_apart_from_them(base: BaseModel) -> None:
    museum, given = tiny_museum(base, "ink"), replay(base)
    apart = run(museum, given, watched=("up_blocks.3",))
    passes: list[int] = []
    hook = base.unet.register_forward_hook(lambda *_: passes.append(1))
    options = PassOptions(LossConfig(), TextEncoding(), ("up_blocks.3",))
    with museum.attached(), torch.no_grad():
        beside = student_pass(museum, Denoiser(base), batch(), rng_for(0, "ink", 0), options, given)
    hook.remove()
    assert passes == [1]
    torch.testing.assert_close(beside.pred, apart.pred, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(beside.step.replay_pred, apart.step.replay_pred, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(beside.step.features, apart.step.features, atol=1e-5, rtol=1e-4)
    assert fits_beside(batch(), given)
    assert fits_beside(batch(), None)
    assert not fits_beside(batch(), replay(base, side=16))


@pytest.mark.parametrize("side", [8, 16])
def test_the_banks_batch_is_predicted_as_it_would_be_alone(base: BaseModel, side: int) -> None:
    museum, inputs = tiny_museum(base, "ink"), dataclasses.replace(replay(base, side=side), weight=2.0)
    alone = run(museum)
    assert alone.step.replay is alone.step.replay_pred is None
    done = run(museum, inputs, watched=("up_blocks.3",))
    assert torch.equal(done.pred, alone.pred)
    assert done.step.replay is inputs.batch
    assert done.step.bank_weight == 2.0
    assert [feature.shape for feature in done.step.features] == [(3, 8, side, side)]
    with museum.attached(), torch.no_grad(), Denoiser(base).watch(("up_blocks.3",)) as features:
        expected = Denoiser(base).predict(inputs.batch.noisy, inputs.batch.t, inputs.states)
    torch.testing.assert_close(done.step.replay_pred, expected)
    torch.testing.assert_close(done.step.features[0], features[0])
    torch.testing.assert_close(done.step.replay_alpha_bar, base.alphas_cumprod[inputs.batch.t])


def test_a_pass_is_that_of_its_random_numbers(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    one, again, other = (run(museum, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.pred, again.pred)
    assert torch.equal(one.target, again.target)
    assert not torch.equal(one.step.t, other.step.t)
    assert not torch.equal(one.target, other.target)
    assert torch.equal(one.step.alpha_bar, base.alphas_cumprod[one.step.t])


def test_noise_offset_shifts_the_noise_of_each_channel(base: BaseModel) -> None:
    museum = tiny_museum(base)
    usual = run(museum)
    shifted = run(museum, loss=LossConfig(noise_offset=0.5))
    shift = shifted.target - usual.target
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift), atol=1e-5, rtol=1e-5)
    assert shift.abs().max() > 0.1


def test_perturbed_input_leaves_the_target_alone(base: BaseModel) -> None:
    museum = tiny_museum(base)
    usual = run(museum)
    perturbed = run(museum, loss=LossConfig(ip_noise_gamma=0.5))
    assert torch.equal(perturbed.target, usual.target)
    assert torch.equal(perturbed.step.t, usual.step.t)
    assert not torch.allclose(perturbed.pred, usual.pred)


def test_a_step_keeps_to_its_range_of_timesteps(base: BaseModel) -> None:
    museum = tiny_museum(base)
    for seed in range(5):
        done = run(museum, seed=seed, loss=LossConfig(min_timestep=300, max_timestep=310))
        assert ((done.step.t >= 300) & (done.step.t < 310)).all()


def test_pictures_and_bank_follow_the_rescaled_schedule(base: BaseModel) -> None:
    rescaled = with_zero_terminal_snr(dataclasses.replace(base, prediction_type="v_prediction"))
    done = run(tiny_museum(rescaled, "ink"), replay(base))
    assert done.step.replay_alpha_bar is not None
    assert torch.equal(done.step.alpha_bar, rescaled.alphas_cumprod[done.step.t])
    assert torch.equal(done.step.replay_alpha_bar, rescaled.alphas_cumprod[torch.tensor([5, 500, 900])])
    assert (done.step.replay_alpha_bar < base.alphas_cumprod[torch.tensor([5, 500, 900])]).all()


@pytest.mark.parametrize("text", [TextEncoding(clip_skip=2), TextEncoding(max_token_length=150)])
def test_how_text_is_encoded_counts(base: BaseModel, text: TextEncoding) -> None:
    museum = tiny_museum(base)
    assert not torch.equal(run(museum).pred, run(museum, text=text).pred)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_loss_is_the_weighted_mean_over_samples(tmp_path: Path, prediction_type: str) -> None:
    base = load_base(write_tiny_base(tmp_path / "base", prediction_type=prediction_type))
    museum = tiny_museum(base)
    done = dataclasses.replace(run(museum), loss_weights=torch.tensor([1.0, 0.25]))
    per_sample = denoising_loss(done.pred, done.target)
    usual = loss_terms(museum, done, {}, LossConfig(), prediction_type)
    assert set(usual) == {"denoising"}
    assert usual["denoising"].item() == pytest.approx((per_sample[0] + per_sample[1] / 4).item() / 2)
    weights = min_snr_weight(done.step.alpha_bar, 1.0, prediction_type) * done.loss_weights
    found = loss_terms(museum, done, {}, LossConfig(min_snr_gamma=1.0), prediction_type)
    assert found["denoising"].item() == pytest.approx((per_sample * weights).mean().item())


def test_the_loss_type_and_its_schedule_are_those_asked_for(base: BaseModel) -> None:
    museum = tiny_museum(base)
    done = dataclasses.replace(run(museum), loss_weights=torch.tensor([1.0, 0.25]))

    def term(**options: object) -> float:
        return loss_terms(museum, done, {}, LossConfig(**options), "epsilon")["denoising"].item()  # type: ignore[arg-type]

    absolute = (done.pred - done.target).abs().flatten(1).mean(1) * done.loss_weights
    assert term(loss_type="l1") == pytest.approx(absolute.mean().item())
    c = 0.1 ** (done.step.t / len(base.alphas_cumprod)).view(2, 1, 1, 1)
    rounded = 2 * (((done.pred - done.target) ** 2 + c**2).sqrt() - c)
    expected = (rounded.flatten(1).mean(1) * done.loss_weights).mean().item()
    assert term(loss_type="smooth_l1", huber_schedule="exponential") == pytest.approx(expected, rel=1e-5)
    debiased = absolute * (1 / done.step.alpha_bar - 1).sqrt()
    assert term(loss_type="l1", debiased_estimation_loss=True) == pytest.approx(debiased.mean().item(), rel=1e-4)


def test_masks_go_with_their_batch_into_the_loss(base: BaseModel) -> None:
    museum = tiny_museum(base)
    half = torch.zeros(2, 1, 8, 8)
    half[..., :4] = 1
    with museum.attached(), torch.no_grad():
        options = PassOptions(LossConfig(), TextEncoding())
        given = dataclasses.replace(batch(), masks=half)
        done = student_pass(museum, Denoiser(base), given, rng_for(0, "ink", 0), options)
    usual = run(museum)
    assert torch.equal(done.pred, usual.pred)
    found = loss_terms(museum, done, {}, LossConfig(), "epsilon")["denoising"]
    left = (done.pred - done.target)[..., :4]
    assert found.item() == pytest.approx(left.square().mean().item() / 2)
    absolute = loss_terms(museum, done, {}, LossConfig(loss_type="l1"), "epsilon")["denoising"]
    assert absolute.item() == pytest.approx(left.abs().mean().item() / 2)


class Constant(Term):
    """A penalty of 2, or none."""

    def __init__(self, value: float | None) -> None:
        self._value = value

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        return None if self._value is None else torch.tensor(self._value)


def test_terms_are_weighted_and_those_with_nothing_to_say_left_out(base: BaseModel) -> None:
    museum = tiny_museum(base)
    terms: dict[str, tuple[Term, float]] = {"two": (Constant(2.0), 3.0), "none": (Constant(None), 3.0)}
    found = loss_terms(museum, run(museum), terms, LossConfig(), "epsilon")
    assert found["two"].item() == 6.0
    assert set(found) == {"denoising", "two"}


def test_what_a_term_reads_follows_from_what_it_needs_unless_it_says_so() -> None:
    class OnBank(Constant):
        needs = frozenset({REPLAY})

    class OnNumbers(OnBank):
        reads = Reads.LORA

    assert (Constant.reads, OnBank.reads, OnNumbers.reads) == (Reads.PICTURES, Reads.BANK, Reads.LORA)


def test_terms_are_asked_by_what_they_read(base: BaseModel) -> None:
    museum, terms = tiny_museum(base), dict[str, tuple[Term, float]]()
    for kind in Reads:
        terms[kind.name] = (Constant(2.0), 3.0)
        terms[kind.name][0].reads = kind
    step = run(museum, dataclasses.replace(replay(base), weight=2.0)).step
    found = penalties(museum, step, terms)
    assert {name: value.item() for name, value in found.items()} == {"PICTURES": 6.0, "LORA": 6.0, "BANK": 12.0}
    for kind in Reads:
        assert list(penalties(museum, step, terms, kind)) == [kind.name]
    assert list(penalties(museum, step, terms, Reads.LORA, Reads.BANK)) == ["LORA", "BANK"]
    found = loss_terms(museum, run(museum), terms, LossConfig(), "epsilon", Reads.PICTURES)
    assert set(found) == {"denoising", "PICTURES"}


def test_a_loss_that_is_not_finite_is_named() -> None:
    bad = not_finite({"a": torch.tensor(1.0), "b": torch.tensor(torch.nan), "c": torch.tensor(torch.inf)})
    assert bad == ["b", "c"]
    message = str(not_finite_error(bad, "ink", 4, [f"{i}.png" for i in range(9)]))
    assert message.startswith("style 'ink', step 5: the loss is not finite (b, c) on 0.png, 1.png, 2.png, 3.png;")
    assert "in another process" in str(not_finite_error([], "ink", 4, []))
