"""Tensors of a weight file, .safetensors or .ckpt. Nothing in a file is ever run."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from museum_plugin.errors import BaseModelError

_HEADER = 8
"""Bytes that tell the size of a safetensors header."""
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U64": torch.uint64, "U32": torch.uint32,
    "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
"""safetensors' names of types."""
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
        with safe_open(path, "pt") as file:  # refuses what is damaged
            metadata = dict(file.metadata() or {})
        return WeightFile(path, _mapped(path), metadata)
    except (SafetensorError, OSError) as error:
        raise BaseModelError(f"{path}: cut short, damaged, or not a safetensors file ({error})") from error


def _mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a whole safetensors file, each mapped on its own.

    The library maps the file as one, which stays in memory until its last tensor is gone; so what was read of a model
    would lie there beside its copy.

    Raises:
        BaseModelError: a tensor is of a type that no model has.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(_HEADER), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        (begin, end), shape, dtype = entry["data_offsets"], entry["shape"], _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise BaseModelError(f"{path}: {name} is {entry['dtype']}; weights must be fp16, bf16 or fp32")
        if begin == end:
            found[name] = torch.empty(shape, dtype=dtype)
            continue
        raw = np.memmap(path, np.uint8, "c", _HEADER + size + begin, (end - begin,))
        found[name] = torch.from_numpy(raw).view(dtype).view(shape)
    return found


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
