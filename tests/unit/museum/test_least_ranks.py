"""Smaller ranks: the nearest outputs for given inputs, and which layers give up which directions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError
from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.museum.compact import capped, least_ranks, part_of_energy, spectra
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.resize import spectrum, with_rank, with_ranks
from museum_plugin.museum.store import content_of
from tests.tiny_museums import tiny_museum

RNG = torch.Generator().manual_seed(3)
DOWN, UP = torch.randn(5, 12, generator=RNG), torch.randn(9, 5, generator=RNG)
MOMENT = SecondMoment(torch.randn(12, 3, generator=RNG) * torch.tensor([4.0, 2.0, 1.0]), torch.tensor(0.05))


@pytest.fixture(scope="module")
def content(base: BaseModel) -> MuseumContent:
    return content_of(tiny_museum(base, "ink", rank=4))


def root(moment: SecondMoment) -> Tensor:
    """C^(1/2) as a whole matrix, float64."""
    factor = moment.factor.double()
    values, vectors = torch.linalg.eigh(factor @ factor.T + moment.rest * torch.eye(len(factor), dtype=torch.float64))
    return vectors * values.sqrt() @ vectors.T


def test_the_nearest_outputs_are_those_of_the_whole_matrix() -> None:
    change, c = UP.double() @ DOWN.double(), root(MOMENT)
    u, values, v = torch.linalg.svd(change @ c)
    nearest = u[:, :2] * values[:2] @ v[:2] @ torch.linalg.inv(c)
    down, up, (energy, lost) = with_rank(DOWN, UP, 2, "seed", MOMENT)
    torch.testing.assert_close((up @ down).double(), nearest, atol=1e-4, rtol=1e-4)
    assert energy == pytest.approx(values.square().sum().item(), rel=1e-9)
    assert lost == pytest.approx(values[2:].square().sum().item(), rel=1e-6)
    assert energy == pytest.approx(MOMENT.energy(change.float()).item(), rel=1e-5)

    plain_down, plain_up, _ = with_rank(DOWN, UP, 2, "seed")
    by_outputs, by_weights = change - (up @ down).double(), change - (plain_up @ plain_down).double()
    assert (by_outputs @ c).norm() < 0.9 * (by_weights @ c).norm()  # each is the nearest in its own measure
    assert by_weights.norm() < 0.9 * by_outputs.norm()


def test_inputs_that_never_occur_cost_nothing() -> None:
    only = SecondMoment(torch.eye(12)[:, :2], torch.tensor(0.0))
    down, up, (_, lost) = with_rank(DOWN, UP, 2, "seed", only)
    torch.testing.assert_close((up @ down)[:, :2], (UP @ DOWN)[:, :2], atol=1e-5, rtol=1e-5)
    assert lost == pytest.approx(0, abs=1e-9)


def test_a_spectrum_is_that_of_the_whole_matrix() -> None:
    change = UP.double() @ DOWN.double()
    torch.testing.assert_close(spectrum(DOWN, UP), torch.linalg.svdvals(change).square()[:5])
    weighted = torch.linalg.svdvals(change @ root(MOMENT)).square()[:5]
    torch.testing.assert_close(spectrum(DOWN, UP, MOMENT), weighted, atol=1e-8, rtol=1e-6)


def test_spectra_hold_scale_and_reference(content: MuseumContent) -> None:
    plain = spectra(content)
    key = min(plain)
    down, up = (content.lora[f"{key}.lora_{half}.weight"].flatten(1) for half in ("down", "up"))
    rank, alpha = content.ledger.network.shape(key)
    torch.testing.assert_close(plain[key], spectrum(down, up) * (alpha / rank) ** 2)
    other = spectra(content, {key: SecondMoment(torch.zeros(down.shape[1], 1), torch.tensor(3.0))}, {key: 2.0})
    torch.testing.assert_close(other[key], plain[key] * 1.5)
    assert all(torch.equal(other[name], plain[name]) for name in plain if name != key)


def test_the_weakest_directions_of_all_layers_go_first() -> None:
    energies = {"a": torch.tensor([60.0, 9.0, 1.0]), "b": torch.tensor([20.0, 8.0, 2.0])}
    assert least_ranks(energies, 0.0) == {"a": 3, "b": 3}
    assert least_ranks(energies, 0.01) == {"a": 2, "b": 3}
    assert least_ranks(energies, 0.11) == {"a": 2, "b": 1}
    assert least_ranks(energies, 0.20) == {"a": 1, "b": 1}
    assert least_ranks(energies, 1.0) == {"a": 1, "b": 1}  # every layer keeps one
    assert part_of_energy(energies, {"a": 2, "b": 1}) == pytest.approx(0.11)
    assert part_of_energy({"a": torch.zeros(2)}, {"a": 1}) == 0


def test_nothing_carries_nothing() -> None:
    assert least_ranks({"a": torch.zeros(3), "b": torch.tensor([1.0, 0.0])}, 0.0) == {"a": 1, "b": 1}


def test_a_cap_leaves_smaller_layers_alone(content: MuseumContent) -> None:
    key = min(content.ledger.network.targets)
    mixed, _ = with_ranks(content, {name: 2 if name == key else 4 for name in content.ledger.network.targets})
    assert set(capped(mixed, 3).values()) == {2, 3}
    assert capped(mixed, 3)[key] == 2
    with pytest.raises(ConfigError, match="no layer of this museum has a rank above 4"):
        capped(mixed, 4)


def test_each_layer_gets_its_rank_and_moment(content: MuseumContent) -> None:
    one, other, *_ = sorted(content.ledger.network.targets)
    ranks = {key: 4 for key in content.ledger.network.targets} | {one: 1, other: 2}
    width = content.lora[f"{one}.lora_down.weight"].shape[1]
    moment = SecondMoment(torch.eye(width)[:, :1], torch.tensor(0.0))
    plain, changes = with_ranks(content, ranks)
    fed, _ = with_ranks(content, ranks, {one: moment})
    assert [(c.key, c.new_rank) for c in changes] == [(one, 1), (other, 2)]
    record = plain.ledger.network
    assert [record.shape(key)[0] for key in (one, other)] == [1, 2]
    assert record.shape(one)[1] == pytest.approx(record.alpha / record.rank)  # the scale is kept
    assert record.shaped_by == "resize"
    assert not torch.equal(fed.lora[f"{one}.lora_down.weight"], plain.lora[f"{one}.lora_down.weight"])
    assert torch.equal(fed.lora[f"{other}.lora_down.weight"], plain.lora[f"{other}.lora_down.weight"])
