"""One forward pass of the student, and the loss terms that come of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.text_encoding import TextEncoding
from museum_plugin.base.text_states import TextStates
from museum_plugin.config.schema import LossConfig
from museum_plugin.errors import NotFiniteError
from museum_plugin.losses.denoising import masked
from museum_plugin.methods.bank import ReplayBatch
from museum_plugin.methods.method import Reads, Step, Term
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.train.noising import draw_noise, draw_timesteps, input_noise
from museum_plugin.train.objective import elementwise_loss, weighted

DENOISING = "denoising"


@dataclass(frozen=True)
class Rng:
    """The random numbers of one step: the same for the same (seed, style, step), whatever came before."""

    tensor: torch.Generator
    """On the CPU, so that every device draws the same."""
    python: Random


def number_for(seed: int, style: str, step: int, part: int = 0) -> int:
    """What all random numbers of a step follow from; `part` tells micro-steps and processes apart."""
    digest = hashlib.sha256(f"{seed}/{style}/{step}/{part}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def rng_for(seed: int, style: str, step: int, part: int = 0) -> Rng:
    """Random numbers of a step of a style."""
    number = number_for(seed, style, step, part)
    return Rng(torch.Generator().manual_seed(number), Random(number))


@dataclass(frozen=True)
class StyleBatch:
    """What a step learns from."""

    latents: Tensor
    """(B, C, h, w) scaled."""
    prompts: tuple[str, ...]
    loss_weights: Tensor
    """(B,): below 1 for prior preservation pictures."""
    masks: Tensor | None = None
    """(B, 1, h, w) in 0..1: how much each place counts."""
    sizes: Tensor | None = None
    """(B, 6) pixels, see `picture_sizes`; None: whole pictures of the size of the latents."""


@dataclass(frozen=True)
class Pass:
    """The student's own batch after a forward pass, with what the terms need."""

    pred: Tensor
    target: Tensor
    loss_weights: Tensor
    step: Step
    masks: Tensor | None = None


@dataclass(frozen=True)
class ReplayInputs:
    """The bank's batch and the text states of its prompts."""

    batch: ReplayBatch
    states: TextStates
    weight: float = 1.0
    """See `Step.bank_weight`."""


@dataclass(frozen=True)
class PassOptions:
    """What does not change from step to step."""

    loss: LossConfig
    text: TextEncoding
    watched: tuple[str, ...] = ()
    """Blocks whose outputs a term needs."""
    slot_dropout: float = 0.0
    """Share of the samples whose prompts are read without slots."""
    timestep: int | None = None
    """The t of every sample; None draws one for each."""
    states: StateCache | None = None
    """Keeps what no training changes; None: every prompt goes through the text encoder in every step."""


class _Inputs(NamedTuple):
    """What `Denoiser.predict` takes."""

    noisy: Tensor
    t: Tensor
    text: TextStates
    sizes: Tensor

    def beside(self, other: _Inputs) -> _Inputs:
        """Both in one batch."""
        noisy, t, sizes = (torch.cat([getattr(self, n), getattr(other, n)]) for n in ("noisy", "t", "sizes"))
        return _Inputs(noisy, t, TextStates.cat([self.text, other.text.to(self.text.states.dtype)]), sizes)


def student_pass(
    museum: Museum,
    denoiser: Denoiser,
    batch: StyleBatch,
    rng: Rng,
    options: PassOptions,
    beside: ReplayInputs | None = None,
) -> Pass:
    """Add noise to the style's batch and predict it.

    Args:
        beside: the bank's batch, latents of the same size, to be predicted in the same pass.
    """
    device = batch.latents.device
    noise = draw_noise(batch.latents, options.loss, rng.tensor)
    t = draw_timesteps(len(noise), denoiser.timesteps, options.loss, rng.tensor).to(device)
    if options.timestep is not None:
        t = torch.full_like(t, options.timestep)
    noisy = denoiser.add_noise(batch.latents, input_noise(noise, options.loss, rng.tensor), t)
    plain = some_of(len(noise), options.slot_dropout, rng.python)
    if options.states is not None:
        states = options.states.training_states(batch.prompts, plain)
    else:
        with museum.slots.plain(plain):
            states = encode_prompts(museum.base, batch.prompts, options.text)
    sizes = denoiser.whole_sizes(noisy) if batch.sizes is None else batch.sizes
    own, rows = _Inputs(noisy, t, states, sizes), len(noisy)
    if beside is None:
        both, features = denoiser.predict(*own), list[Tensor]()
    else:
        with denoiser.watch(options.watched) as features:
            both = denoiser.predict(*own.beside(_inputs_of(denoiser, beside)))
    pred = both[:rows]
    step = Step(
        t=t,
        alpha_bar=denoiser.alpha_bar(t),
        prediction_type=denoiser.prediction_type,
        pred_x0=denoiser.predict_x0(noisy, pred, t),
    )
    if beside is not None:
        step = _with_replay(step, denoiser, beside, both[rows:], [feature[rows:] for feature in features])
    return Pass(pred, denoiser.target(batch.latents, noise, t), batch.loss_weights, step, batch.masks)


def fits_beside(batch: StyleBatch, replay: ReplayInputs | None) -> bool:
    """Whether the bank's batch, if there is one, can share a pass with the style's."""
    return replay is None or batch.latents.shape[1:] == replay.batch.noisy.shape[1:]


def replay_pass(denoiser: Denoiser, step: Step, replay: ReplayInputs, watched: tuple[str, ...]) -> Step:
    """A step of which the bank's batch is predicted, too.

    Args:
        replay: the bank's batch with its text states.
        watched: blocks whose outputs a term needs.
    """
    with denoiser.watch(watched) as features:
        pred = denoiser.predict(*_inputs_of(denoiser, replay))
    return _with_replay(step, denoiser, replay, pred, features)


def _inputs_of(denoiser: Denoiser, replay: ReplayInputs) -> _Inputs:
    return _Inputs(replay.batch.noisy, replay.batch.t, replay.states, denoiser.whole_sizes(replay.batch.noisy))


def _with_replay(
    step: Step, denoiser: Denoiser, replay: ReplayInputs, pred: Tensor, features: Sequence[Tensor]
) -> Step:
    return replace(
        step,
        replay=replay.batch,
        replay_pred=pred,
        replay_alpha_bar=denoiser.alpha_bar(replay.batch.t),
        features=tuple(features),
        bank_weight=replay.weight,
    )


def some_of(count: int, share: float, rng: Random) -> list[bool]:
    """Mark `share` of `count` samples, as evenly as whole numbers allow: their number varies by one at most."""
    start = rng.random()
    return [int(start + share * (i + 1)) > int(start + share * i) for i in range(count)]


def loss_terms(
    museum: Museum,
    done: Pass,
    terms: dict[str, tuple[Term, float]],
    loss: LossConfig,
    prediction_type: str,
    *kinds: Reads,
) -> dict[str, Tensor]:
    """What the style's pictures teach and the weighted penalties, by name.

    Args:
        kinds: see `penalties`.
    """
    errors = elementwise_loss(done.pred, done.target, done.step, loss, len(museum.base.alphas_cumprod))
    per_sample = masked(errors, done.masks).flatten(1).mean(1) * done.loss_weights
    own = weighted(per_sample, done.step.alpha_bar, prediction_type, loss).mean()
    return {DENOISING: own, **penalties(museum, done.step, terms, *kinds)}


def penalties(museum: Museum, step: Step, terms: dict[str, tuple[Term, float]], *kinds: Reads) -> dict[str, Tensor]:
    """The weighted penalties of a step by name; a term that has nothing to penalise is left out.

    Args:
        kinds: which terms are asked, by what they read; none: all.
    """
    found = {}
    for name, (term, weight) in terms.items():
        if kinds and term.reads not in kinds:
            continue
        penalty = term.penalty(museum, step)
        if penalty is not None:
            found[name] = weight * (step.bank_weight if term.reads is Reads.BANK else 1.0) * penalty
    return found


def add_gradients(found: dict[str, Tensor], micro_steps: int, backward: Callable[[Tensor], None]) -> None:
    """Those of some weighted terms of one of so many micro-steps; what they were computed from is needed no longer."""
    total = torch.stack(list(found.values())).sum() / micro_steps if found else torch.zeros(())
    if total.requires_grad:  # not where dropout left out every layer
        backward(total)


def not_finite(terms: dict[str, Tensor]) -> list[str]:
    """Names of the terms whose value is not a number."""
    return [name for name, value in terms.items() if not torch.isfinite(value)]


def not_finite_error(
    bad: list[str], style: str, step: int, pictures: list[str], *, what: str = "loss"
) -> NotFiniteError:
    """Why a step is refused, before it can change anything: names style, step, terms or modules, and pictures."""
    named = ", ".join(bad[:4]) + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")
    where = f"({named}) on {', '.join(pictures[:4])}" if bad else "in another process"
    return NotFiniteError(
        f"style {style!r}, step {step + 1}: the {what} is not finite {where}; nothing of this step was kept. "
        "A lower learning rate or bf16 usually cures it."
    )
