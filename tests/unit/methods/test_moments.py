"""Second moments of what a convolution's kernel sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.methods import moments
from museum_plugin.methods.moments import InputMoment, _recording, main_directions


def everywhere(rows: Tensor) -> Tensor:
    return rows.double().T @ rows.double()


def whole(moment: SecondMoment) -> Tensor:
    factor = moment.factor.double()
    return factor @ factor.T + moment.rest * torch.eye(len(factor), dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_a_convolutions_inputs_give_the_energy_of_its_output(stride: int) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(3, 4, 3, stride=stride, padding=1, bias=False)
    x = torch.randn(2, 3, 8, 8)
    with _recording({"key": module}, 1000, torch.Generator()) as seen:
        output = module(x)
    (rows,) = seen["key"]
    assert rows.shape == (output.shape[0] * output.shape[2] * output.shape[3], 27)
    energy = main_directions(rows / len(rows) ** 0.5, 27).energy(module.weight.flatten(1))
    assert energy.item() == pytest.approx(output.square().sum(1).mean().item(), rel=1e-4)
    assert not module._forward_pre_hooks


def test_as_many_inputs_are_kept_as_are_asked_for_of_every_picture() -> None:
    module, x = nn.Linear(5, 2), torch.randn(3, 40, 5)
    kept = []
    for seed in (1, 1, 2):
        with _recording({"key": module}, 7, torch.Generator().manual_seed(seed)) as seen:
            module(x)
        kept.append(torch.cat(seen["key"]))
    assert kept[0].shape == (21, 5)
    for picture, rows in zip(x, kept[0].split(7), strict=True):
        assert (rows[:, None] == picture).all(dim=2).any(dim=1).all()
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


@pytest.mark.parametrize("count", [5, 40])
def test_all_directions_together_are_the_second_moment(count: int) -> None:
    rows = torch.randn(count, 12, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(whole(main_directions(rows, 12)), everywhere(rows), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("count", [9, 40])
def test_few_directions_keep_the_largest_exactly_and_the_trace(count: int) -> None:
    rows = torch.randn(count, 12, generator=torch.Generator().manual_seed(4)) * torch.arange(1, 13)
    found, true = whole(main_directions(rows, 3)), everywhere(rows)
    assert main_directions(rows, 3).factor.shape == (12, 3)
    torch.testing.assert_close(found.trace(), true.trace())
    values, vectors = torch.linalg.eigh(true)
    torch.testing.assert_close(found @ vectors[:, -3:], vectors[:, -3:] * values[-3:], atol=1e-2, rtol=1e-3)


def test_the_widest_layers_of_known_models_are_kept_and_wide_convolutions_are_not() -> None:
    assert 4 * 1280 <= moments._WIDEST < 9 * 1280


@pytest.mark.parametrize("energy", [0.0, -1.0, float("inf"), float("nan")])
def test_an_energy_that_is_none_is_refused(energy: float) -> None:
    with pytest.raises(ValueError, match="energy"):
        InputMoment(main_directions(torch.ones(3, 2), 1), torch.tensor(energy))
