"""From file to museum and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from museum_plugin.base.encode import token_embedding
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.schema import NetworkArguments, NetworkConfig
from museum_plugin.errors import MuseumFileError
from museum_plugin.museum.file import MuseumContent, read_museum, write_museum
from museum_plugin.museum.lora import target_modules
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import LayerShape, layer_shapes
from museum_plugin.museum.store import check_network, content_of, new_museum, open_museum
from tests.tiny_models import write_tiny_base
from tests.tiny_museums import WORDS, prediction, shake, tiny_museum


def saved(museum: Museum, path: Path) -> Path:
    write_museum(path, content_of(museum), keep_history=0)
    return path


@pytest.mark.parametrize("with_text_encoder", [False, True])
def test_opening_and_saving_again_gives_the_same_museum(
    base: BaseModel, tmp_path: Path, with_text_encoder: bool
) -> None:
    museum = tiny_museum(base, "ink", "neon", with_text_encoder=with_text_encoder)
    path = saved(museum, tmp_path / "mine.safetensors")

    opened = open_museum(path, base)

    assert opened.ledger == museum.ledger
    assert opened.network.alpha == 1.0
    with museum.attached():
        expected = [prediction(base, f"a cat, {word}") for word in WORDS.values()]
    with opened.attached():
        found = [prediction(base, f"a cat, {word}") for word in WORDS.values()]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    again = saved(opened, tmp_path / "again" / "mine.safetensors")
    assert again.read_bytes() == path.read_bytes()


def test_an_open_slot_is_not_written(base: BaseModel) -> None:
    museum = tiny_museum(base, "ink")
    museum.slots.open("neon", (WORDS["neon"],), (5,), "cat")
    assert set(content_of(museum).slots) == {"ink"}


def test_a_museum_of_another_base_is_refused(base: BaseModel, tmp_path: Path) -> None:
    path = saved(tiny_museum(base, "ink"), tmp_path / "mine.safetensors")
    other = load_base(write_tiny_base(tmp_path / "other", seed=1))
    with pytest.raises(MuseumFileError, match="taught on base model 'tiny' .*, not on 'other'"):
        open_museum(path, other)


def test_a_tensor_that_does_not_fit_is_named(base: BaseModel, tmp_path: Path) -> None:
    content = content_of(tiny_museum(base, "ink"))
    name = max(name for name in content.lora if name.endswith("lora_up.weight"))
    path = tmp_path / "mine.safetensors"
    lora = {**content.lora, name: torch.zeros(7, 2)}
    write_museum(path, MuseumContent(lora, content.slots, content.ledger, content.metadata), keep_history=0)
    with pytest.raises(MuseumFileError, match=rf"{name}: found shape \(7, 2\)"):
        open_museum(path, base)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rank": 3}, "network_dim 2, not 3; give 2"),
        ({"alpha": 2.5}, "network_alpha 1, not 2.5"),
        ({"with_text_encoder": True}, "does not train the text encoder"),
    ],
)
def test_another_shape_is_refused(base: BaseModel, change: dict[str, float], named: str) -> None:
    museum = tiny_museum(base, "ink")
    asked = {"rank": 2, "alpha": 1.0, "with_text_encoder": False}
    check_network(museum.ledger, Path("mine"), **asked)  # type: ignore[arg-type]
    with pytest.raises(MuseumFileError, match=named):
        check_network(museum.ledger, Path("mine"), **{**asked, **change})  # type: ignore[arg-type]


def asked(base: BaseModel, **arguments: object) -> dict[str, LayerShape]:
    config = NetworkConfig(rank=2, alpha=1.0, arguments=NetworkArguments(**arguments))  # type: ignore[arg-type]
    convolutions = config.arguments.with_convolutions
    return layer_shapes(dict(target_modules(base, with_text_encoder=False, with_convolutions=convolutions)), config)


def wide_museum(base: BaseModel) -> Museum:
    """Without styles, with layers on convolutions."""
    museum = new_museum(
        base, rank=2, alpha=1.0, seed=1, with_text_encoder=False, shapes=asked(base, conv_dim=3, conv_alpha=0.3)
    )
    shake(museum.network, torch.Generator().manual_seed(0))
    return museum


def test_a_museum_with_convolutions_opens_as_it_was_saved(base: BaseModel, tmp_path: Path) -> None:
    museum = wide_museum(base)
    path = saved(museum, tmp_path / "mine.safetensors")

    opened = open_museum(path, base)

    assert opened.ledger == museum.ledger
    assert opened.ledger.network.shape("lora_unet_mid_block_resnets_0_conv1") == (3, 0.3)
    with museum.attached():
        expected = prediction(base)
    with opened.attached():
        assert torch.equal(prediction(base), expected)
    assert saved(opened, tmp_path / "again" / "mine.safetensors").read_bytes() == path.read_bytes()


def test_a_ledger_of_one_shape_says_nothing_of_single_modules(base: BaseModel) -> None:
    network = tiny_museum(base, "ink").ledger.network
    assert (network.ranks, network.alphas) == ({}, {})
    assert '"ranks"' not in tiny_museum(base, "ink").ledger.to_json()
    assert '"ranks"' in wide_museum(base).ledger.to_json()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "has 57 layers that this run does not ask for, such as lora_unet_down_blocks_0_downsamplers_0_conv"),
        ({"conv_dim": 4, "conv_alpha": 0.3}, "has rank 3, alpha 0.3, not rank 4, alpha 0.3"),
        ({"conv_dim": 3}, "has rank 3, alpha 0.3, not rank 3, alpha 1"),
    ],
)
def test_other_layers_than_the_museums_are_refused(base: BaseModel, arguments: dict[str, object], named: str) -> None:
    museum, shape = wide_museum(base), {"rank": 2, "alpha": 1.0, "with_text_encoder": False}
    museum.ledger = museum.ledger.with_style(
        replace(tiny_museum(base, "ink").ledger.styles[0], settings={"network_args": {"conv_dim": 3, "x": [1.0, 0.5]}})
    )
    same = asked(base, conv_dim=3, conv_alpha=0.3)
    check_network(museum.ledger, Path("mine"), **shape, shapes=same)  # type: ignore[arg-type]
    with pytest.raises(MuseumFileError, match=f"mine: .*{named}; give .* begun with: conv_dim=3 x=1,0.5"):
        check_network(museum.ledger, Path("mine"), **shape, shapes=asked(base, **arguments))  # type: ignore[arg-type]


def test_layers_that_the_museum_does_not_have_are_refused(base: BaseModel) -> None:
    museum, shape = tiny_museum(base, "ink"), {"rank": 2, "alpha": 1.0, "with_text_encoder": False}
    with pytest.raises(MuseumFileError, match="57 layers that this museum does not have.*give no network_args"):
        check_network(museum.ledger, Path("mine"), **shape, shapes=asked(base, conv_dim=3))  # type: ignore[arg-type]


def test_the_bases_own_rows_of_the_words_are_kept_as_they_were_first(base: BaseModel, tmp_path: Path) -> None:
    path = saved(tiny_museum(base, "ink", "neon"), tmp_path / "mine.safetensors")
    content = read_museum(path)
    table = token_embedding(base.text_encoders[0]).weight
    for record in content.ledger.styles:
        assert torch.equal(content.base_rows[record.name]["clip_l"], table[list(record.token_ids)])
    kept = {name: {"clip_l": torch.full((1, 16), 3.0)} for name in ("ink", "neon")}
    write_museum(path, replace(content, base_rows=kept), keep_history=0)
    again = content_of(open_museum(path, base))
    assert all(torch.equal(again.base_rows[name]["clip_l"], kept[name]["clip_l"]) for name in kept)


def test_a_museum_of_an_earlier_version_gets_the_bases_rows_when_it_is_saved(base: BaseModel, tmp_path: Path) -> None:
    path = saved(tiny_museum(base, "ink"), tmp_path / "mine.safetensors")
    now = path.read_bytes()
    write_museum(path, replace(read_museum(path), base_rows={}), keep_history=0)
    assert read_museum(path).base_rows == {}
    assert saved(open_museum(path, base), path).read_bytes() == now
