"""More rank for the shared LoRA of a museum that is about to learn: a block of rows that changes nothing yet."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from museum_plugin.museum.lora import LoRALayer
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.resize import with_rank
from museum_plugin.museum.store import network_record


@torch.no_grad()
def add_block(museum: Museum, rank: int) -> list[LoRALayer]:
    """Give every layer that is trained `rank` more rows, at the end and under the same scale.

    The layers' parameters are new ones: an optimizer is made afterwards. The ledger says what the layers are now.

    Returns:
        The layers that have grown.
    """
    network, grown = museum.network, []
    for key, layer in network.layers.items():
        if not layer.down.requires_grad:
            continue
        old_rank, device = len(layer.down), layer.down.device
        seed = f"{museum.ledger.museum_id}/{key}/{old_rank}"
        down, up, _ = with_rank(layer.down.cpu().float(), layer.up.cpu().float(), old_rank + rank, seed)
        layer.alpha = layer.scale * (old_rank + rank)
        layer.down, layer.up = nn.Parameter(down.to(device)), nn.Parameter(up.to(device))
        grown.append(layer)
    network.alpha, network.rank = network.alpha / network.rank * (network.rank + rank), network.rank + rank
    before = museum.ledger.network
    record = replace(network_record(network), shaped_by=before.shaped_by, extra=before.extra)
    museum.ledger = replace(museum.ledger, network=record)
    return grown
