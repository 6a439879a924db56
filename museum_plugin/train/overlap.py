"""How far a new style's first gradients reach into what old styles do, before anything is trained. Source: ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import Parameter

from museum_plugin.base.sampler import drawn_at_once
from museum_plugin.methods.museum import lock_errors
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.train.inputs import reader_for, style_batch
from museum_plugin.train.nonfinite import not_finite_gradients
from museum_plugin.train.parameter_groups import parameter_groups
from museum_plugin.train.rehearsal import predictions
from museum_plugin.train.setup import Classroom, Lesson, sampling_plan
from museum_plugin.train.step import add_gradients, loss_terms, not_finite, not_finite_error, rng_for, student_pass

NUDGE = 0.02
"""Length of the small step, as a part of the LoRA's."""
_STILL = 0.01
"""Part of that step which moves predictions by rounding alone: in half precision that is as much as a style may be."""
_SCALE = 1024.0
"""Of the loss in fp16; that of its scaler begins so high that the first steps of a run are often left out."""
_BATCHES = 8
_ANCHORS = 24
TINY = 1e-12


@dataclass(frozen=True)
class Overlap:
    """What a small step towards the new style changes of predictions: mean squares, weighted by min-SNR.

    In units of the predicted noise squared.
    """

    moved: dict[str, float]
    """Of the predictions of each group of the bank: prompts without a trigger, and old styles."""
    effect: dict[str, float]
    """What the museum's predictions of each group differ from the bare base's: what there is to lose."""
    length: float
    """Root of the sum of squares of all numbers of the LoRA that are trained."""
    numbers: float
    """How many these are, each counted by the square of its learning rate as a part of the largest."""

    def at_stake(self, group: str) -> float:
        """The overlap: what the step changes of a group, as a part of what there is to lose; 0 = nothing."""
        return self.moved[group] / max(self.effect[group], TINY)


def overlap_of(room: Classroom, lesson: Lesson) -> Overlap:
    """Measure it for a style that is about to be taught; museum and slot stay as they are, bit for bit.

    Args:
        lesson: before its first step, with a bank.
    Raises:
        ValueError: it has no bank, or only a slot is trained.
        NotFiniteError: a loss, a gradient or a prediction is not finite.
    """
    museum, bank, rates = room.museum, lesson.kept_bank, rates_of_lora(room, lesson)
    if bank is None or not rates:
        raise ValueError("an overlap needs a bank, and a part of the LoRA that is trained")
    at_once = drawn_at_once(museum.base, sampling_plan(room.run, lesson.dataset, room), 8)
    anchors = bank.thinned(_ANCHORS)

    def seen(*, bare: bool = False) -> Tensor:
        """With text states of now, where the step moves text encoders, too."""
        states = lesson.options.states or StateCache(museum, lesson.options.text)
        return predictions(museum, anchors, states, bare=bare, at_once=at_once)

    def by_group(pred: Tensor, other: Tensor) -> dict[str, float]:
        t = torch.tensor([anchor.t for anchor in anchors], device=museum.base.device)
        alpha_bar = room.denoiser.alpha_bar(t).cpu()
        errors = lock_errors(pred, other, alpha_bar, room.denoiser.prediction_type)
        return mean_by_group(errors, [bank.groups[anchor.group] for anchor in anchors])

    parameters, largest = list(rates), max(rates.values())
    gradients = zip(first_gradients(room, lesson, parameters), rates.values(), strict=True)
    directions = [gradient.sign() * (rate / largest) for gradient, rate in gradients]
    before, bare, length = seen(), seen(bare=True), length_of(parameters)
    size = -NUDGE * length / max(length_of(directions), TINY)
    with moved_by(parameters, directions, _STILL * size):
        rounding = by_group(seen(), before)
    with moved_by(parameters, directions, size):
        changed = by_group(seen(), before)
    found = Overlap(
        moved={group: max(0.0, change - rounding[group]) for group, change in changed.items()},
        effect=by_group(before, bare),
        length=length,
        numbers=sum((rate / largest) ** 2 * parameter.numel() for parameter, rate in rates.items()),
    )
    values = torch.tensor([*changed.values(), *found.effect.values(), length])
    if not bool(values.isfinite().all()):
        raise not_finite_error(["predictions"], lesson.title, 0, [])
    return found


def rates_of_lora(room: Classroom, lesson: Lesson) -> dict[Parameter, float]:
    """The learning rate of every part of the LoRA that is trained; empty where only a slot is."""
    *groups, _slot = parameter_groups(room.run, room.museum, lesson.name)
    return {p: group["lr"] for group in groups for p in group["params"] if p.requires_grad and group["lr"]}


def first_gradients(room: Classroom, lesson: Lesson, parameters: Sequence[Parameter]) -> list[Tensor]:
    """Mean gradients of what the style's pictures teach, over the first batch of each of its first eight steps.

    No penalty is among it: it would be what holds old styles. All gradients are as they were before. With fp16 what is
    returned is 1024 times too large, as small gradients would else be 0.

    Returns:
        one for each parameter; zeros where a parameter has no part in it.
    Raises:
        NotFiniteError: a loss or a gradient is not finite.
    """
    run, museum, denoiser = room.run, room.museum, room.denoiser
    options = replace(lesson.options, watched=(), states=None)
    trained = [*parameters, *museum.open_parameters(lesson.name)]
    kept, scale = [parameter.grad for parameter in trained], 1.0 if room.accelerator.scaler is None else _SCALE
    for parameter in trained:
        parameter.grad = None
    try:
        with closing(reader_for(room, lesson)) as reader:
            for step in range(_BATCHES):
                shown = reader.batch(step)
                rng = rng_for(run.training.seed, lesson.name, step)
                with room.accelerator.autocast():
                    done = student_pass(museum, denoiser, style_batch(room, lesson, shown), rng, options)
                    found = loss_terms(museum, done, {}, run.loss, denoiser.prediction_type)
                add_gradients({name: scale * value for name, value in found.items()}, _BATCHES, torch.Tensor.backward)
                if bad := not_finite(found) or not_finite_gradients(museum, lesson.name):
                    raise not_finite_error(bad, lesson.title, step, [str(picture.path) for picture in shown.pictures])
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    finally:
        for parameter, gradient in zip(trained, kept, strict=True):
            parameter.grad = gradient


@contextmanager
@torch.no_grad()
def moved_by(parameters: Sequence[Tensor], directions: Sequence[Tensor], size: float) -> Iterator[None]:
    """While inside, every parameter is `size` times its direction further; afterwards what it was, bit for bit."""
    kept = [parameter.detach().clone() for parameter in parameters]
    for parameter, direction in zip(parameters, directions, strict=True):
        parameter.add_(direction.to(parameter), alpha=size)
    try:
        yield
    finally:
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)


def mean_by_group(values: Tensor, groups: Sequence[str]) -> dict[str, float]:
    """Mean of the values of each group.

    Args:
        values: (N,)
        groups: of each value.
    """
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    return {group: values[where].mean().item() for group, where in places.items()}


def length_of(tensors: Sequence[Tensor]) -> float:
    """Root of the sum of squares of all numbers."""
    return torch.stack([tensor.detach().float().square().sum() for tensor in tensors]).sum().sqrt().item()
