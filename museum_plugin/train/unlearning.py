"""A style leaves the shared LoRA: what it drew becomes what the base draws, the other styles stay. Source: ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random

import torch

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.data.captions import with_trigger
from museum_plugin.errors import TrainingError
from museum_plugin.methods.bank import Anchor, Bank
from museum_plugin.methods.museum import locked
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache
from museum_plugin.train.rehearsal import predictions
from museum_plugin.train.step import number_for

_CLIP = 1.0


@dataclass(frozen=True)
class UnlearningPlan:
    """How a style is taken out."""

    style: str
    steps: int
    learning_rate: float
    """Of the first step; it falls to 0 evenly."""
    batch_size: int = 8
    """Anchors in a step; the styles that stay, the one that goes and prompts without a trigger share them evenly."""
    seed: int = 0


def unlearning_bank(museum: Museum, bank: Bank, states: StateCache, style: str, contents: Iterable[str]) -> Bank:
    """The bank of a museum in which one style's anchors have the base's predictions for teachers.

    Where the style's pictures went, its prompts are to give what the base predicts for them without the trigger; read
    without the slot, what the base predicts for the plain word. The same where pictures without a trigger went.

    Args:
        museum: attached, with the slot of the style.
        bank: drawn by it, with all its styles.
        contents: the prompts without trigger that the bank was drawn for.
    """
    phrase, group = museum.phrase(style), bank.groups.index(style)
    has_slot = style in museum.slots.slots
    content_of = {with_trigger(content, phrase): content for content in contents}
    own: list[Anchor] = []
    for anchor in bank.anchors:
        if anchor.group == group:
            own.append(replace(anchor, plain=False))
        elif anchor.group == 0 and anchor.prompt:
            own.append(replace(anchor, group=group, prompt=with_trigger(anchor.prompt, phrase)))
            content_of[own[-1].prompt] = anchor.prompt
    if has_slot:
        own += [replace(anchor, plain=True) for anchor in own if anchor.prompt]
    asked = [
        anchor if anchor.plain or not has_slot else replace(anchor, prompt=content_of.get(anchor.prompt, anchor.prompt))
        for anchor in own
    ]
    found = predictions(museum, asked, states, bare=True)
    relabelled = [replace(anchor, pred=pred.half()) for anchor, pred in zip(own, found, strict=True)]
    return Bank(bank.groups, [anchor for anchor in bank.anchors if anchor.group != group] + relabelled)


def unlearn(
    museum: Museum, bank: Bank, states: StateCache, plan: UnlearningPlan, progress: Callable[[float], object]
) -> None:
    """Train the U-Net's layers until every anchor's prediction is its teacher's; slots and text layers stay.

    A function of (seed, style, step) and of the museum alone.

    Args:
        museum: attached.
        bank: see `unlearning_bank`.
        progress: called with the loss of each step.
    Raises:
        TrainingError: a loss or a weight is not finite.
    """
    base, denoiser = museum.base, Denoiser(museum.base)
    museum.network.freeze(f"lora_{part}_" for part in base.family.text_parts)
    parameters = [parameter for parameter in museum.network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=0.0)
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * (1 - step / plan.steps)
        rng = Random(number_for(plan.seed, plan.style, step))
        batch = bank.batch(plan.batch_size, rng, base.device)
        pred = denoiser.predict(batch.noisy, batch.t, states.states(batch.prompts, batch.plain))
        loss = locked(pred, batch.teacher_pred, denoiser.alpha_bar(batch.t), denoiser.prediction_type, batch.groups)
        if not torch.isfinite(loss):
            raise TrainingError(f"step {step + 1} of taking {plan.style!r} out: the loss is not finite; give a lower "
                                "--learning_rate; nothing was changed")  # fmt: skip
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimizer.step()
        optimizer.zero_grad()
        progress(loss.item())
    if not museum.is_finite():
        raise TrainingError("the weights are not finite; give a lower --learning_rate; nothing was changed")
