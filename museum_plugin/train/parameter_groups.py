"""Which parameters learn at which rate."""

from __future__ import annotations

from typing import Any

from museum_plugin.config.schema import RunConfig
from museum_plugin.museum.block_weights import block_weights
from museum_plugin.museum.lora import LoRALayer
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.shape import block_counts, block_of


def parameter_groups(run: RunConfig, museum: Museum, style: str | None) -> list[dict[str, Any]]:
    """Groups of parameters with their `lr`: U-Net, text encoders, the style's open slot.

    Blocks of the U-Net whose learning rates differ are groups of their own. With LoRA+ (arXiv:2402.12354)
    the ups of a group are one of their own, whose rate is the ratio times the downs'.
    """
    given, layers = run.network.arguments, museum.network.layers
    factors = block_weights(given, block_counts(layers))
    rate = run.optimizer.unet_learning_rate if run.network.train_unet else 0.0
    unet: dict[float, list[LoRALayer]] = {1.0: []}
    for key, layer in layers.items():
        if key.startswith("lora_unet_"):
            unet.setdefault(factors[block_of(key)] if given.by_block else 1.0, []).append(layer)
    groups = []
    for factor, block_layers in unet.items():
        groups += _groups(block_layers, rate * factor, given.loraplus_ratio("unet"))
    for part, text_rate in _text_rates(run, museum).items():
        text = [layer for key, layer in layers.items() if key.startswith(f"lora_{part}_")]
        groups += _groups(text, text_rate, given.loraplus_ratio("text_encoder"))
    return [*groups, {"params": museum.open_parameters(style), "lr": run.slot.learning_rate}]


def _text_rates(run: RunConfig, museum: Museum) -> dict[str, float]:
    """The learning rate of each text encoder; the last one given is that of all further ones."""
    rates, parts = run.optimizer.text_encoder_rates, museum.base.family.text_parts
    return {part: rates[min(i, len(rates) - 1)] for i, part in enumerate(parts)}


def _groups(layers: list[LoRALayer], rate: float, ratio: float) -> list[dict[str, Any]]:
    if ratio == 1:
        return [{"params": [parameter for layer in layers for parameter in layer.parameters()], "lr": rate}]
    downs, ups = [layer.down for layer in layers], [layer.up for layer in layers]
    return [{"params": downs, "lr": rate}, {"params": ups, "lr": rate * ratio}]
