"""Tensors of a weight file lie on disk until they are used, each on its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from museum_plugin.base.weight_file import read_weight_file
from museum_plugin.errors import BaseModelError

TENSORS = {
    "half": torch.arange(6).half().view(2, 3),
    "brain": torch.tensor([1.5, -2.0]).bfloat16(),
    "single": torch.arange(5).float() / 3,
    "count": torch.tensor(875000),
    "empty": torch.empty(0, 4),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"made by": "a test"})
    return tmp_path / "model.safetensors"


def test_a_file_is_read_as_its_own_library_does(file: Path) -> None:
    found = read_weight_file(file)
    assert found.metadata == {"made by": "a test"}
    assert found.tensors.keys() == TENSORS.keys()
    for name, tensor in load_file(file).items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape
        assert torch.equal(found.tensors[name], tensor)


def test_no_tensor_keeps_the_others_in_memory(file: Path) -> None:
    for tensor in read_weight_file(file).tensors.values():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_writing_to_a_tensor_leaves_the_file_alone(file: Path) -> None:
    before = file.read_bytes()
    read_weight_file(file).tensors["half"].zero_()
    assert file.read_bytes() == before


def test_a_type_that_no_model_has_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"dtype":"F32","shape":[5]', b'"dtype":"C64","shape":[5]', 1))
    with pytest.raises(BaseModelError, match="model.safetensors"):
        read_weight_file(file)
