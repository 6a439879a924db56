"""What the loop promises to a term that somebody writes: each hook, when and how often."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from museum_plugin.methods import TERMS
from museum_plugin.methods.method import Step, StyleStart, Term
from museum_plugin.museum.museum import Museum
from tests.recipes.conftest import Teach
from tests.recipes.school import STEPS, School

CALLS: list[str] = []


class Still(Term):
    """Takes every gradient of the shared LoRA away before the optimizer sees it."""

    name = "still"

    def begin_style(self, start: StyleStart) -> None:
        CALLS.append("begin")

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        CALLS.append("penalty")
        return None

    def after_backward(self, museum: Museum) -> None:
        gradients = [p.grad for p in museum.network.parameters() if p.grad is not None]
        CALLS.append("gradients" if any(bool(g.any()) for g in gradients) else "none")
        for gradient in gradients:
            gradient.zero_()

    def after_step(self, museum: Museum) -> None:
        CALLS.append("moved")

    def end_style(self, museum: Museum) -> None:
        CALLS.append("end")


@pytest.mark.parametrize("weight", [0, 1])
def test_a_term_sees_all_gradients_before_the_optimizer_does(
    school: School, teach: Teach, monkeypatch: pytest.MonkeyPatch, weight: int
) -> None:
    monkeypatch.setitem(TERMS, "still", Still)
    CALLS.clear()
    flags = ("--method=finetune", "--gradient_accumulation_steps=2", "--term_weights", f"still={weight}")

    assert teach(school.command(*flags)).code == 0

    step = ["penalty", "penalty", "gradients", "moved"]
    assert (["begin", *step * STEPS, "end"] if weight else []) == CALLS
    ups = [tensor for name, tensor in school.numbers().items() if "lora_up" in name]
    assert all(torch.equal(up, torch.zeros_like(up)) for up in ups) is bool(weight)
