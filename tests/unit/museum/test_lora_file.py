"""LoRA files of other origin: read, taken as a start, merged into the base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from museum_plugin.base.load import BaseModel, load_base, weights_fingerprint
from museum_plugin.errors import ConfigError
from museum_plugin.museum.file import write_museum
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.lora_file import commonest, file_shapes, merge_into_base, start_from
from museum_plugin.museum.lora_reading import read_lora
from museum_plugin.museum.shape import LayerShape
from museum_plugin.museum.store import content_of
from tests.tiny_museums import prediction, shake, tiny_museum

CONV = "lora_unet_mid_block_resnets_0_conv1"
LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
FC2 = "lora_te_text_model_encoder_layers_1_mlp_fc2"


def network_of(base: BaseModel, *, alpha: float = 1.5, rank: int = 3, keys: tuple[str, ...] = ()) -> LoRANetwork:
    """A LoRA with numbers on convolutions, transformers and text encoder, or on the given modules alone."""
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    shapes = {key: LayerShape(2 if "conv1" in key else rank, alpha) for key in keys or modules}
    network = LoRANetwork(base, rank=rank, alpha=alpha, seed=0, with_text_encoder=True, shapes=shapes)
    shake(network, torch.Generator().manual_seed(3), size=0.1)
    return network


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_file_is_read_with_its_kernels_flattened(base: BaseModel, tmp_path: Path, name: str) -> None:
    network = network_of(base)
    found = read_lora(write(tmp_path / name, network.tensors()), "network_weights")
    assert set(found) == set(network.layers)
    assert (found[CONV].shape, found[LINEAR].shape) == ((2, 1.5), (3, 1.5))
    assert torch.equal(found[CONV].down, network.layers[CONV].down)
    assert torch.equal(found[CONV].up, network.layers[CONV].up)


def test_without_an_alpha_it_is_the_rank(base: BaseModel, tmp_path: Path) -> None:
    tensors = {name: t for name, t in network_of(base).tensors().items() if not name.endswith("alpha")}
    found = read_lora(write(tmp_path / "a.safetensors", tensors), "network_weights")
    assert found[LINEAR].alpha == 3
    assert found[LINEAR].scale == 1


def test_a_museum_file_is_a_lora_file_too(base: BaseModel, tmp_path: Path) -> None:
    museum = tiny_museum(base, "ink")
    write_museum(tmp_path / "mine.safetensors", content_of(museum), keep_history=0)
    assert set(read_lora(tmp_path / "mine.safetensors", "base_weights")) == set(museum.network.layers)


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"lora_unet_x.hada_w1_a": torch.ones(2, 2)}, "this is no plain LoRA: tensor lora_unet_x.hada_w1_a is of LoHa"),
        ({"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, "lora_unet_x is not whole"),
        ({"bundle_emb.x": torch.ones(2)}, "it holds no LoRA"),
    ],
)
def test_what_is_no_plain_lora_is_refused(tmp_path: Path, tensors: dict[str, Tensor], named: str) -> None:
    with pytest.raises(ConfigError, match=f"network_weights: .*a.safetensors: {named}"):
        read_lora(write(tmp_path / "a.safetensors", tensors), "network_weights")


def test_a_file_that_is_not_there_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='base_weights: no file ".*gone.safetensors"'):
        read_lora(tmp_path / "gone.safetensors", "base_weights")
    for name in ("a.safetensors", "a.pt"):
        (tmp_path / name).write_bytes(b"scribble")
        with pytest.raises(ConfigError, match="cut short, damaged, or not a"):
            read_lora(tmp_path / name, "base_weights")


@pytest.mark.parametrize("alpha", [1.5, 6.0])
def test_a_network_starts_as_the_file_draws_whatever_its_own_alpha(
    base: BaseModel, tmp_path: Path, alpha: float
) -> None:
    given = network_of(base)
    path = write(tmp_path / "a.safetensors", given.tensors())
    network = network_of(base, alpha=alpha)
    with given.attached():
        expected = prediction(base)

    start_from(network, read_lora(path, "network_weights"), path)

    with network.attached():
        torch.testing.assert_close(prediction(base), expected, atol=1e-5, rtol=1e-4)
    assert network.tensors()[f"{LINEAR}.alpha"] == alpha
    exact = torch.equal(network.layers[LINEAR].up, given.layers[LINEAR].up)
    assert exact is (alpha == 1.5)


def test_a_start_leaves_other_modules_and_says_what_has_no_place(
    base: BaseModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.safetensors", network_of(base, keys=(CONV, LINEAR)).tensors())
    network = network_of(base, keys=(LINEAR, FC2))
    untouched = network.layers[FC2].up.clone()
    start_from(network, read_lora(path, "network_weights"), path)
    assert torch.equal(network.layers[FC2].up, untouched)
    assert f"left out: 1 of its modules, which have no place here, such as {CONV}" in caplog.text
    with pytest.raises(ConfigError, match=f"none of its modules has a place here, such as {LINEAR}"):
        start_from(network_of(base, keys=(FC2,)), read_lora(path, "network_weights"), path)


def test_a_start_of_another_rank_or_width_is_refused(base: BaseModel, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", network_of(base, rank=4).tensors())
    with pytest.raises(ConfigError, match="has rank 4, not 3; give dim_from_weights"):
        start_from(network_of(base), read_lora(path, "network_weights"), path)
    wide = {f"{LINEAR}.lora_down.weight": torch.ones(3, 99), f"{LINEAR}.lora_up.weight": torch.ones(16, 3)}
    path = write(tmp_path / "b.safetensors", wide)
    with pytest.raises(ConfigError, match=r"changes a weight of shape \(16, 99\), but the base model's has \(16, 16\)"):
        start_from(network_of(base), read_lora(path, "network_weights"), path)


def test_shapes_of_a_file(base: BaseModel, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", network_of(base, keys=(CONV, LINEAR, FC2)).tensors())
    factors = read_lora(path, "network_weights")
    assert file_shapes(factors, base, path, with_text_encoder=True) == {CONV: (2, 1.5), LINEAR: (3, 1.5), FC2: (3, 1.5)}
    assert set(file_shapes(factors, base, path, with_text_encoder=False)) == {CONV, LINEAR}
    assert commonest([LayerShape(2, 1.0), LayerShape(3, 1.0), LayerShape(3, 1.0)]) == (3, 1.0)
    with pytest.raises(ConfigError, match="none of its modules has a place here"):
        file_shapes({FC2: factors[FC2]}, base, path, with_text_encoder=False)


def test_merging_draws_as_the_attached_lora_does(base: BaseModel, base_folder: Path, tmp_path: Path) -> None:
    network = network_of(base)
    path = write(tmp_path / "one.safetensors", network.tensors())
    with network.attached():
        expected = prediction(base)

    merged = merge_into_base(load_base(base_folder), path, 1.0)

    torch.testing.assert_close(prediction(merged), expected, atol=1e-5, rtol=1e-4)
    assert merged.name == "tiny + one * 1"
    weight, layer = merged.unet.mid_block.resnets[0].conv1.weight, network.layers[CONV]
    half = merge_into_base(load_base(base_folder), path, 0.5)
    change = layer.scale * (layer.up @ layer.down).view_as(weight)
    torch.testing.assert_close(weight - half.unet.mid_block.resnets[0].conv1.weight, 0.5 * change, atol=1e-6, rtol=1e-4)


def test_a_merged_base_has_another_fingerprint(base: BaseModel, base_folder: Path, tmp_path: Path) -> None:
    network = network_of(base, keys=(LINEAR,))
    path = write(tmp_path / "one.safetensors", network.tensors())
    found = {base.fingerprint}
    found |= {merge_into_base(load_base(base_folder), path, multiplier).fingerprint for multiplier in (1.0, 0.5)}
    found.add(
        merge_into_base(load_base(base_folder), write(tmp_path / "two.safetensors", _moved(path)), 1.0).fingerprint
    )
    assert len(found) == 4
    again = merge_into_base(load_base(base_folder), path, 1.0)
    assert again.fingerprint in found
    assert weights_fingerprint((again.unet, *again.text_encoders)) != base.fingerprint


def _moved(path: Path) -> dict[str, Tensor]:
    return {name: tensor + (1e-7 if name.endswith("lora_up.weight") else 0) for name, tensor in load_file(path).items()}
