"""How much old styles depend on each number of the LoRA: the diagonal of the Fisher information, on the bank."""

from __future__ import annotations

import torch
from torch import Tensor

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.text_states import TextStates
from museum_plugin.losses.elastic_weights import fisher_score
from museum_plugin.methods.bank import Anchor, Bank
from museum_plugin.museum.museum import Museum
from museum_plugin.museum.text_cache import StateCache


def fisher_information(bank: Bank, museum: Museum, states: StateCache, per_group: int, seed: int) -> dict[str, Tensor]:
    """E (d s / d theta)^2 of each parameter of the LoRA, by its name in the network; each old style weighs alike.

    One backward pass for each anchor, so that squares are taken before the mean. The museum is the one that is attached
    now. Anchors without a trigger are left out: no style depends on them.

    Args:
        per_group: how many anchors of each style are used.
        seed: decides the noise of every score.
    Returns:
        float32, the parameters' shapes; empty where the museum knows no style.
    """
    denoiser = Denoiser(museum.base)
    anchors = [anchor for anchor in bank.thinned(per_group) if anchor.group > 0]
    counts = {group: sum(anchor.group == group for anchor in anchors) for group in {a.group for a in anchors}}
    parameters = {name: p for name, p in museum.network.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    rng = torch.Generator().manual_seed(seed)
    for anchor in anchors:
        score = _score(denoiser, anchor, _read(museum, states, anchor), rng)
        gradients = torch.autograd.grad(score, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.float().square() / (counts[anchor.group] * len(counts))
    return total if anchors else {}


def _score(denoiser: Denoiser, anchor: Anchor, text: TextStates, rng: torch.Generator) -> Tensor:
    device = text.states.device
    noise = torch.randn(anchor.noisy.shape, generator=rng).to(device)
    pred = denoiser.predict(anchor.noisy[None].to(device), torch.tensor([anchor.t], device=device), text)
    return fisher_score(pred[0], noise)


def _read(museum: Museum, states: StateCache, anchor: Anchor) -> TextStates:
    """The anchor's text, with a way back to the LoRA where that is on the text encoder, too."""
    layers = museum.network.layers.items()
    if not any(layer.down.requires_grad for key, layer in layers if not key.startswith("lora_unet_")):
        return states.states([anchor.prompt], [anchor.plain])
    with museum.slots.plain([anchor.plain]):
        return encode_prompts(museum.base, [anchor.prompt], states.text)
