"""Tensors of a weight file, .safetensors or .ckpt. Nothing in a file is ever run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from museum_plugin.errors import BaseModelError

_UNUSED = ("model_ema.", "optimizer_states", "callbacks")
"""Beginnings of names that no model needs: the moving average beside the weights, a trainer's state."""


@dataclass(frozen=True)
class WeightFile:
    """What a weight file holds. Tensors lie on disk until they are used, as far as the format allows it."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_weight_file(path: Path) -> WeightFile:
    """Open a weight file; the moving average (`model_ema.`) is left out.

    Raises:
        BaseModelError: no file, damaged, holds no tensors, or is a pickle that asks for code to be run.
    """
    if not path.is_file():
        raise BaseModelError(f"{path}: no such file")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = {name: tensor for name, tensor in found.tensors.items() if not name.startswith(_UNUSED)}
    if not tensors:
        raise BaseModelError(f"{path}: holds no weights")
    return WeightFile(path, tensors, found.metadata)


def finite_float32(path: Path, name: str, tensor: Tensor) -> Tensor:
    """A float32 copy in memory, so that the file may change afterwards.

    Raises:
        BaseModelError: not numbers of a float type, or not finite.
    """
    if not tensor.is_floating_point() or tensor.dtype.itemsize == 1:
        raise BaseModelError(f"{path}: {name} is {_type_name(tensor)}; weights must be fp16, bf16 or fp32")
    copy = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if not copy.isfinite().all():
        raise BaseModelError(f"{path}: {name} holds NaN or infinite values; the file is damaged")
    return copy


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _read_safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            return WeightFile(path, tensors, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise BaseModelError(f"{path}: cut short, damaged, or not a safetensors file ({error})") from error


def _read_pickle(path: Path) -> WeightFile:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error) and "GLOBAL" not in str(error):
            raise _damaged(path, error) from error
        raise BaseModelError(
            f"{path}: holds more than weights and would run code when loaded, so it is not; "
            "take the .safetensors file of this model"
        ) from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise _damaged(path, error) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not isinstance(content, dict):
        content = {}
    return WeightFile(
        path,
        {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        | {
            name: torch.tensor(value)
            for name, value in content.items()
            if name == "global_step" and isinstance(value, int)
        },
    )


def _damaged(path: Path, error: Exception) -> BaseModelError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return BaseModelError(f"{path}: cut short, damaged, or not a checkpoint ({reason})")
