"""What is left out between down and up: out = org + scale * up(dropped(down(x))), the same whenever it is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.dropout import Dropout, LayerDropout
from museum_plugin.museum.lora import LoRALayer
from museum_plugin.museum.museum import Museum
from tests.tiny_museums import prediction, tiny_museum

SHAPES = [(3, 20), (3, 50, 20), (3, 20, 5, 6)]


def dropped(inner: Tensor, key: str = "7/key", **shares: float) -> Tensor:
    return LayerDropout(Dropout(**shares), key)(inner)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_neurons_are_left_out_one_by_one_and_the_rest_grows(shape: tuple[int, ...]) -> None:
    kept = dropped(torch.ones(400, *shape[1:]), neuron=0.25)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (kept == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert kept.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ranks_are_left_out_whole_and_for_each_sample(shape: tuple[int, ...]) -> None:
    kept = dropped(torch.ones(400, *shape[1:]), rank=0.5)
    by_rank = kept.movedim(1, -1) if len(shape) == 4 else kept
    by_rank = by_rank.reshape(400, -1, 20)
    assert torch.equal(by_rank, by_rank[:, :1].expand_as(by_rank))
    assert len({tuple(row.tolist()) for row in by_rank[:, 0]}) > 390
    assert (by_rank == 0).float().mean() == pytest.approx(0.5, abs=0.02)
    assert kept.max() == 2


def test_both_at_once_multiply() -> None:
    inner = torch.ones(400, 20)
    assert set(dropped(inner, neuron=0.5, rank=0.5).unique().tolist()) == {0.0, 4.0}


def test_what_is_left_out_follows_from_the_key_alone() -> None:
    inner = torch.ones(4, 30)
    one = LayerDropout(Dropout(neuron=0.5), "7/a")
    assert torch.equal(one(inner), one(inner))
    assert torch.equal(one(inner), dropped(inner, "7/a", neuron=0.5))
    assert not torch.equal(one(inner), dropped(inner, "8/a", neuron=0.5))
    assert not torch.equal(one(inner), dropped(inner, "7/b", neuron=0.5))


def test_modules_are_left_out_as_often_as_asked() -> None:
    skipped = [LayerDropout(Dropout(module=0.3), f"{i}/key").skips_module for i in range(1000)]
    assert sum(skipped) == pytest.approx(300, abs=45)
    assert not any(LayerDropout(Dropout(neuron=0.9), f"{i}/key").skips_module for i in range(50))


@pytest.mark.parametrize(
    "module", [nn.Linear(6, 5), nn.Conv2d(6, 5, 3, stride=2, padding=1)], ids=["linear", "convolution"]
)
def test_a_layer_drops_between_down_and_up(module: nn.Module) -> None:
    layer = LoRALayer(module, rank=8, alpha=2.0, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.up.normal_(generator=torch.Generator().manual_seed(2))
    x = torch.randn((2, 6) if isinstance(module, nn.Linear) else (2, 6, 8, 8))
    dropout = LayerDropout(Dropout(neuron=0.3, rank=0.3), "7/key")
    kind = type(module)
    down, up = (
        (nn.Linear(6, 8, bias=False), nn.Linear(8, 5, bias=False))
        if kind is nn.Linear
        else (nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False), nn.Conv2d(8, 5, 1, bias=False))
    )
    down.weight, up.weight = (
        nn.Parameter(value.detach().view_as(part.weight)) for value, part in ((layer.down, down), (layer.up, up))
    )
    torch.testing.assert_close(layer(x, dropout), up(dropout(down(x))) * 2.0 / 8)
    torch.testing.assert_close(layer(x), up(down(x)) * 2.0 / 8)
    assert not torch.equal(layer(x, dropout), layer(x))


@contextmanager
def with_dropout(museum: Museum, dropout: Dropout) -> Iterator[Museum]:
    museum.network.dropout = dropout
    with museum.attached():
        yield museum


@pytest.mark.parametrize("shares", [{"neuron": 0.5}, {"rank": 0.5}, {"module": 0.5}], ids=str)
def test_a_network_drops_only_while_it_is_told_to(base: BaseModel, shares: dict[str, float]) -> None:
    with with_dropout(tiny_museum(base, "ink", rank=4), Dropout(**shares)) as museum:
        whole = prediction(base)
        with museum.network.dropping(3):
            less, again = prediction(base), prediction(base)
        with museum.network.dropping(4):
            other = prediction(base)
        assert torch.equal(prediction(base), whole)
    assert torch.equal(less, again)
    assert not torch.equal(less, whole)
    assert not torch.equal(less, other)


def test_dropping_nothing_is_bit_for_bit_nothing(base: BaseModel) -> None:
    with with_dropout(tiny_museum(base, "ink"), Dropout()) as museum:
        whole = prediction(base)
        with museum.network.dropping(3):
            assert torch.equal(prediction(base), whole)
        with pytest.raises(KeyError), museum.network.dropping(3):
            raise KeyError
        assert museum.network._dropping is None


def test_without_all_modules_the_base_is_bare(base: BaseModel) -> None:
    bare = prediction(base)
    with with_dropout(tiny_museum(base, "ink"), Dropout(module=1 - 1e-12)) as museum, museum.network.dropping(3):
        assert torch.equal(prediction(base), bare)
