"""The norms of the layers' weight changes, and keeping them below one (`scale_weight_norms`)."""

from __future__ import annotations

import torch
from torch import Tensor

from museum_plugin.losses.weight_regularization import inner_product
from museum_plugin.museum.lora import LoRANetwork


@torch.no_grad()
def layer_norms(network: LoRANetwork) -> Tensor:
    """(n,) for n layers: ||scale * up @ down||, Frobenius, of each layer's weight change."""
    changes = [layer.low_rank() for layer in network.layers.values()]
    return torch.stack([inner_product(change, change).clamp(min=0).sqrt() for change in changes])


@torch.no_grad()
def limit_norms(network: LoRANetwork, largest: float) -> dict[str, Tensor]:
    """Scale down every layer whose change is larger than allowed: both factors times sqrt(largest / norm).

    Source: sd-scripts (max norm regularization).

    Args:
        largest: > 0.
    Returns:
        "scaled_keys", how many layers were scaled, and "mean_norm", the mean norm afterwards; scalars.
    """
    norms = layer_norms(network)
    factors = (largest / norms.clamp(min=largest)).where(norms > largest, torch.ones_like(norms))
    for layer, factor in zip(network.layers.values(), factors.sqrt(), strict=True):
        layer.up.mul_(factor)
        layer.down.mul_(factor)
    return {"scaled_keys": (norms > largest).sum().float(), "mean_norm": (norms * factors).mean()}
