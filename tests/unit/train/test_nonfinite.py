"""Numbers that are not finite are seen and never reach the weights."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.nn import Parameter

from museum_plugin.errors import NotFiniteError
from museum_plugin.train.nonfinite import Skips, advance_without_step, gradients_are_finite, has_gradients


def parameter(*gradient: float) -> Parameter:
    made = Parameter(torch.zeros(len(gradient)))
    made.grad = torch.tensor(gradient)
    return made


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_one_bad_number_of_one_gradient_is_enough(bad: float, place: int) -> None:
    gradients = [[0.0, 1.0], [2.0, -3.0]]
    assert gradients_are_finite([parameter(*g) for g in gradients])
    gradients[place][1] = bad
    assert not gradients_are_finite([parameter(*g) for g in gradients])


def test_large_gradients_are_finite() -> None:
    """Their squares are not."""
    assert gradients_are_finite([parameter(3e38, -3e38)])


def test_parameters_without_gradient_count_as_finite() -> None:
    assert gradients_are_finite([Parameter(torch.zeros(1))])
    assert gradients_are_finite([])
    assert not gradients_are_finite([Parameter(torch.zeros(1)), parameter(float("nan"))])


def test_a_gradient_of_one_parameter_is_one_even_if_it_is_zero() -> None:
    assert has_gradients([Parameter(torch.zeros(1)), parameter(0.0)])
    assert not has_gradients([Parameter(torch.zeros(1))])
    assert not has_gradients([])


def test_so_many_in_a_row_may_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "museum")
    skips, refused = Skips(2), NotFiniteError("step 3.")
    skips.take(refused)
    skips.take(refused)
    with pytest.raises(NotFiniteError):
        skips.take(refused)
    assert caplog.messages == ["step 3. Skipped (1 in a row, at most 2).", "step 3. Skipped (2 in a row, at most 2)."]


def test_none_is_skipped_unless_asked_for() -> None:
    with pytest.raises(NotFiniteError):
        Skips(0).take(NotFiniteError("step 3."))


def test_the_learning_rate_goes_on_without_a_step() -> None:
    optimizer = torch.optim.SGD([parameter(1.0)], lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    advance_without_step(schedule)  # torch would warn, and warnings are errors here
    assert schedule.get_last_lr() == [0.5]
