"""Rank blocks for a museum that is about to learn."""

from __future__ import annotations

from pathlib import Path

import torch

from museum_plugin.base.load import BaseModel
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.growth import add_block
from museum_plugin.museum.store import content_of, open_museum
from tests.tiny_museums import prediction, tiny_museum


def test_a_block_changes_nothing_yet_and_the_file_knows_it(base: BaseModel, tmp_path: Path) -> None:
    museum = tiny_museum(base, "ink")
    with museum.attached():
        before = prediction(base, "a cat in ink style")
    scale, old = museum.network.alpha / museum.network.rank, museum.network.tensors()

    grown = add_block(museum, 3)

    assert grown == list(museum.network.layers.values())
    assert all(layer.scale == scale and len(layer.down) == 5 for layer in grown)
    assert all(bool(layer.down[2:].any()) and not layer.up[:, 2:].any() for layer in grown)
    for name, tensor in museum.network.tensors().items():
        if "lora_down" in name:
            assert torch.equal(tensor[:2], old[name])
    assert (museum.ledger.network.rank, museum.ledger.network.alpha) == (5, scale * 5)
    assert museum.ledger.network.ranks == {}
    write_museum(tmp_path / "grown.safetensors", content_of(museum), keep_history=0)
    again = open_museum(tmp_path / "grown.safetensors", base)
    with again.attached():
        torch.testing.assert_close(prediction(base, "a cat in ink style"), before, atol=1e-6, rtol=1e-5)


def test_blocks_of_one_museum_begin_differently_and_equal_museums_alike(base: BaseModel) -> None:
    museum, twin = tiny_museum(base, "ink"), tiny_museum(base, "ink")
    twin.ledger = museum.ledger
    for one in (museum, museum, twin, twin):
        add_block(one, 2)
    for key, layer in museum.network.layers.items():
        assert not torch.equal(layer.down[2:4], layer.down[4:6])
        assert torch.equal(layer.down, twin.network.layers[key].down)


def test_frozen_layers_do_not_grow(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink", with_text_encoder=True)
    museum.network.freeze(["lora_te"])
    grown = add_block(museum, 2)
    assert len(grown) == sum(key.startswith("lora_unet") for key in museum.network.layers)
    assert {rank for key, rank in museum.ledger.network.ranks.items() if key.startswith("lora_te")} == {2}
