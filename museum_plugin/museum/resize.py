"""Another rank for the shared LoRA of a museum. Pure functions of its tensors."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from museum_plugin.errors import ConfigError
from museum_plugin.losses.weight_regularization import SecondMoment
from museum_plugin.museum.file import MuseumContent
from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.ledger import NetworkRecord
from museum_plugin.museum.shape import LayerShape

_NOTHING = 1e-12
"""Singular values below this share of the largest carry nothing: float64 rounding."""


@dataclass(frozen=True)
class LayerChange:
    """What became of one layer."""

    key: str
    old_rank: int
    new_rank: int
    energy: float
    """Squared Frobenius norm of its weight change, scale included."""
    lost: float
    """The part of it that the new rank cannot hold."""

    @property
    def error(self) -> float:
        """||new - old|| / ||old||, Frobenius norms of the weight change; 0 where there was none."""
        return relative_error([self])


def relative_error(changes: Iterable[LayerChange]) -> float:
    """The same of several layers together, 0 to 1."""
    changes = list(changes)
    energy = math.fsum(change.energy for change in changes)
    return math.sqrt(math.fsum(change.lost for change in changes) / energy) if energy > 0 else 0.0


def resized(content: MuseumContent, rank: int, conv_rank: int | None) -> tuple[MuseumContent, list[LayerChange]]:
    """A museum whose layers have another rank, under the same scales; slots and styles stay.

    A larger rank changes nothing: further rows begin as those of a new LoRA. A smaller one keeps the nearest weight
    change of that rank (Eckart-Young: the first singular values).

    Args:
        rank: of every layer but those of convolutions that see more than one pixel.
        conv_rank: of these; None leaves them as they are.
    Returns:
        the new museum, and what became of each layer whose rank is another now, by key.
    Raises:
        ConfigError: nothing would change, or no layer can use so large a rank.
    """
    network, lora = content.ledger.network, content.lora
    wide = {key for key in network.targets if _is_wide(lora[tensor_names(key)[0]])}
    if conv_rank is not None and not wide:
        raise ConfigError("--conv_rank: this museum has no layers on convolutions; leave it out")
    _check_size("--rank", rank, [lora[tensor_names(key)[0]] for key in network.targets if key not in wide])
    asked = {key: conv_rank if key in wide else rank for key in network.targets}
    new_ranks = {key: network.shape(key)[0] if new is None else new for key, new in asked.items()}
    content, changes = with_ranks(content, new_ranks)
    if not changes:
        raise ConfigError(f"--rank: every layer of this museum has rank {rank} already")
    return content, changes


def with_ranks(
    content: MuseumContent, ranks: Mapping[str, int], moments: Mapping[str, SecondMoment] | None = None
) -> tuple[MuseumContent, list[LayerChange]]:
    """A museum whose layers have these ranks, under the same scales; slots and styles stay.

    Args:
        ranks: key of every layer -> its rank, 1 or more.
        moments: what layers are fed: a smaller rank keeps the nearest change of their outputs; where nothing is said
            of a layer, the nearest change of its weight.
    Returns:
        the new museum, and what became of each layer whose rank is another now, by key.
    """
    network, lora, moments = content.ledger.network, dict(content.lora), moments or {}
    shapes, changes = {}, []
    for key, new_rank in sorted(ranks.items()):
        old_rank, alpha = network.shape(key)
        shapes[key] = LayerShape(new_rank, alpha)
        if new_rank == old_rank:
            continue
        shapes[key] = LayerShape(new_rank, alpha / old_rank * new_rank)
        down_name, up_name, alpha_name = tensor_names(key)
        seed = f"{content.ledger.museum_id}/{key}/{old_rank}"
        before = lora[down_name].flatten(1), lora[up_name].flatten(1)
        down, up, kept = with_rank(*before, new_rank, seed, moments.get(key))
        lora[down_name] = down.view(new_rank, *lora[down_name].shape[1:])
        lora[up_name] = up.view(len(up), new_rank, *lora[up_name].shape[2:])
        lora[alpha_name] = lora[alpha_name].new_tensor(shapes[key].alpha)
        scale = (alpha / old_rank) ** 2
        changes.append(LayerChange(key, old_rank, new_rank, scale * kept[0], scale * kept[1]))
    wide = {key for key in network.targets if _is_wide(content.lora[tensor_names(key)[0]])}
    ledger = replace(content.ledger, network=_record(network, shapes, wide))
    return replace(content, lora=lora, ledger=ledger), changes


def with_rank(
    down: Tensor, up: Tensor, rank: int, seed: str, moment: SecondMoment | None = None
) -> tuple[Tensor, Tensor, tuple[float, float]]:
    """Factors of another rank with the same product up @ down, or the nearest one.

    Nearest is what changes E ||D x||^2 least, the output for inputs x with E[x x^T] = C: D = up @ down projected on
    the first left singular vectors of D C^(1/2). With C = I that is the truncated SVD. Source: Eckart-Young, as the
    rank r matrices that minimise ||(D - D') C^(1/2)|| are the D' = P D with that projection P.

    Args:
        down: (old rank, in).
        up: (out, old rank).
        seed: decides the rows of `down` that begin anew; their columns of `up` are 0, so that they change nothing yet.
        moment: C of the inputs; None: I.
    Returns:
        down (rank, in) and up (out, rank), float32; and the energy ||D C^(1/2)||^2 with the part of it that is lost.
    """
    begun = torch.empty(rank, down.shape[1])
    begun.uniform_(-1, 1, generator=_rng(seed)).div_(math.sqrt(down.shape[1]))  # as in a new LoRA
    if rank >= len(down):
        new_up = torch.zeros(len(up), rank)
        new_up[:, : len(down)], begun[: len(down)] = up, down
        return begun, new_up, (float((up.double() @ down.double()).square().sum()), 0.0)
    left, values, inner = _main_outputs(down.double(), up.double(), moment)
    energy = values.square()
    carries = (values[:rank] > values[:1] * _NOTHING).nonzero().flatten()
    rows = inner[carries] @ down.double()
    root = rows.norm(dim=1).sqrt()  # shared evenly by both factors
    new_up = torch.zeros(len(up), rank, dtype=torch.float64)
    new_up[:, carries] = left[:, carries] * root
    begun[carries] = (rows / root[:, None]).float()
    return begun, new_up.float(), (float(energy.sum()), float(energy[rank:].sum()))


def spectrum(down: Tensor, up: Tensor, moment: SecondMoment | None = None) -> Tensor:
    """Squared singular values of D C^(1/2), D = up @ down: the energy of each direction, the largest first.

    Args:
        down: (rank, in).
        up: (out, rank).
        moment: C of the inputs; None: I.
    Returns:
        (min(rank, out),) float64; their sum is E ||D x||^2.
    """
    return _main_outputs(down.double(), up.double(), moment)[1].square()


def _main_outputs(down: Tensor, up: Tensor, moment: SecondMoment | None) -> tuple[Tensor, Tensor, Tensor]:
    """D C^(1/2) = left diag(values) V^T without V: left (out, r), values (r,), and inner (r, rank) = left^T up."""
    left, inner = torch.linalg.qr(up)
    parts = [down] if moment is None else [down @ moment.factor.double(), down * math.sqrt(moment.rest.item())]
    u, values, _ = torch.linalg.svd(inner @ torch.cat(parts, 1), full_matrices=False)
    return left @ u, values, u.T @ inner


def _record(network: NetworkRecord, shapes: dict[str, LayerShape], wide: set[str]) -> NetworkRecord:
    most = [shape for key, shape in shapes.items() if key not in wide] or list(shapes.values())
    usual = Counter(most).most_common(1)[0][0]
    ranks = {key: shape.rank for key, shape in shapes.items() if shape.rank != usual.rank}
    alphas = {key: shape.alpha for key, shape in shapes.items() if shape.alpha != usual.alpha}
    shaped_by = network.shaped_by or ("resize" if ranks or alphas else "")
    return replace(network, rank=usual.rank, alpha=usual.alpha, ranks=ranks, alphas=alphas, shaped_by=shaped_by)


def _check_size(flag: str, rank: int, downs: list[Tensor]) -> None:
    """No layer has more to learn than its input is wide."""
    widest = max((down[0].numel() for down in downs), default=rank)
    if rank > widest:
        raise ConfigError(f"{flag}: found {rank}, allowed: 1 to {widest}, the width of this museum's widest layer")


def _is_wide(down: Tensor) -> bool:
    return down.ndim == 4 and tuple(down.shape[2:]) != (1, 1)


def _rng(seed: str) -> torch.Generator:
    digest = hashlib.sha256(seed.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
