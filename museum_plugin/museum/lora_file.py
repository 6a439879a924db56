"""LoRA files of any origin: taken as a start, or merged into the base."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from museum_plugin.base.load import BaseModel
from museum_plugin.errors import ConfigError
from museum_plugin.museum.lora import LoRANetwork, Networks, target_modules
from museum_plugin.museum.lora_reading import Factors, read_lora
from museum_plugin.museum.shape import LayerShape

log = logging.getLogger("museum")


def file_shapes(
    factors: Mapping[str, Factors], base: BaseModel, path: Path, *, with_text_encoder: bool
) -> dict[str, LayerShape]:
    """The layers of a file that a base has a place for: what `dim_from_weights` asks for.

    Raises:
        ConfigError: none of them fits.
    """
    keys = [key for key, _ in target_modules(base, with_text_encoder=with_text_encoder, with_convolutions=True)]
    _require_some("network_weights", path, factors, keys)
    return {key: factors[key].shape for key in keys if key in factors}


def commonest(shapes: Iterable[LayerShape]) -> LayerShape:
    """The shape that most layers have; the first of equals."""
    return Counter(shapes).most_common(1)[0][0]


@torch.no_grad()
def start_from(network: LoRANetwork, factors: Mapping[str, Factors], path: Path) -> None:
    """Give a network the numbers of a file, so that it changes the base as the file does, whatever its own alpha.

    Raises:
        ConfigError: nothing fits, or a module's rank or width is another.
    """
    _say_what_is_left_out("network_weights", path, factors, network.layers)
    for key, layer in network.layers.items():
        given = factors.get(key)
        if given is None:
            continue
        if given.down.shape[0] != layer.down.shape[0]:
            raise ConfigError(
                f"network_weights: {path}: {key} has rank {given.down.shape[0]}, not {layer.down.shape[0]}; "
                "give dim_from_weights, or its network_dim and network_args"
            )
        _check_width("network_weights", path, key, given, (layer.up.shape[0], layer.down.shape[1]))
        layer.down.copy_(given.down)
        layer.up.copy_(given.up * (given.scale / layer.scale))


def merge_all_into_base(base: BaseModel, paths: Sequence[Path], multipliers: Sequence[float]) -> BaseModel:
    """Add LoRA files one after another; a file without a multiplier counts once.

    Raises:
        ConfigError: a file cannot be read or does not fit.
    """
    for path, multiplier in with_multipliers(paths, multipliers):
        base = merge_into_base(base, path, multiplier)
    return base


def with_multipliers(paths: Sequence[Path], multipliers: Sequence[float]) -> list[tuple[Path, float]]:
    """Each file with its multiplier, 1 where none is given."""
    return list(zip(paths, [*multipliers, *[1.0] * (len(paths) - len(multipliers))], strict=True))


@torch.no_grad()
def merge_into_base(base: BaseModel, path: Path, multiplier: float) -> BaseModel:
    """Add a LoRA file to the weights of a base, which becomes another base: weight += multiplier * scale * up @ down.

    Returns:
        the base with a fingerprint and a name that tell of the file and the multiplier; its networks are changed.
    Raises:
        ConfigError: the file cannot be read or does not fit.
    """
    factors = fitting_factors(base, path)
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    for key, given in factors.items():
        weight = modules[key].weight
        change = multiplier * given.scale * (given.up @ given.down)
        weight += change.view_as(weight).to(weight)
    log.info("base_weights: %s is merged into the base, times %g", path, multiplier)
    return replace(
        base,
        name=merged_name(base.name, path, multiplier),
        fingerprint=merged_fingerprint(base.fingerprint, factors, multiplier),
    )


def fitting_factors(base: Networks, path: Path) -> dict[str, Factors]:
    """The modules of a `base_weights` file that a base has a place for, by kohya key; what has none is told.

    Args:
        base: its networks; their weights are not read.
    Raises:
        ConfigError: the file cannot be read, nothing of it fits, or a module has another width.
    """
    factors = read_lora(path, "base_weights", base.family.text_parts)
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    return fitting(factors, modules, path, "base_weights")


def fitting(
    factors: Mapping[str, Factors], modules: Mapping[str, nn.Module], path: Path, flag: str
) -> dict[str, Factors]:
    """Those factors whose modules are there; what is left out is told.

    Raises:
        ConfigError: nothing fits, or a module has another width.
    """
    check_widths(factors, modules, path, flag)
    _say_what_is_left_out(flag, path, factors, modules)
    return {key: given for key, given in factors.items() if key in modules}


def check_widths(factors: Mapping[str, Factors], modules: Mapping[str, nn.Module], path: Path, flag: str) -> None:
    """Refuse a file that shares names with a base of another kind.

    Raises:
        ConfigError: a module that is there has another width.
    """
    for key in sorted(factors.keys() & modules.keys()):
        weight = modules[key].weight
        _check_width(flag, path, key, factors[key], (weight.shape[0], weight[0].numel()))


def merged_name(base: str, path: Path, multiplier: float) -> str:
    """What a base is called with a file merged in."""
    return f"{base} + {path.stem} * {multiplier:g}"


def merged_fingerprint(fingerprint: str, factors: Mapping[str, Factors], multiplier: float) -> str:
    """The fingerprint of a base with the modules of a file merged in."""
    digest = hashlib.sha256(f"{fingerprint}/{multiplier}".encode())
    for key, given in sorted(factors.items()):
        digest.update(f"{key}{given.shape}".encode())
        for part in (given.up, given.down):
            digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_width(flag: str, path: Path, key: str, given: Factors, width: tuple[int, int]) -> None:
    found = (given.up.shape[0], given.down.shape[1])
    if found != width or given.up.shape[1] != given.down.shape[0]:
        raise ConfigError(
            f"{flag}: {path}: {key} changes a weight of shape {found}, but the base model's has {width}: it was made "
            "for another kind of model"
        )


def _require_some(flag: str, path: Path, given: Iterable[str], known: Iterable[str]) -> None:
    if not set(given) & set(known):
        raise ConfigError(
            f"{flag}: {path}: none of its modules has a place here, such as {min(given)}: it was "
            "made for another kind of model"
        )


def _say_what_is_left_out(flag: str, path: Path, given: Iterable[str], known: Iterable[str]) -> None:
    _require_some(flag, path, given, known)
    left_out = sorted(set(given) - set(known))
    if left_out:
        where = f"{flag}: {path}"
        log.warning(
            "%s: left out: %d of its modules, which have no place here, such as %s", where, len(left_out), left_out[0]
        )
