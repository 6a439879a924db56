"""Ways to damage a museum without training: what may go wrong with its numbers, mild to severe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from museum_plugin.museum.museum import Museum

Numbers = dict[str, Tensor]
"""LoRA tensors by their kohya names, and the vectors of each style under "slot STYLE"."""


@dataclass(frozen=True)
class Damage:
    """A named way to damage."""

    name: str
    apply: Callable[[Numbers], Numbers]


def numbers_of(museum: Museum) -> Numbers:
    """A copy of all numbers of a museum on a base with one text encoder."""
    slots = {f"slot {name}": slot.vectors[0] for name, slot in museum.slots.slots.items()}
    return {name: tensor.detach().clone() for name, tensor in {**museum.network.tensors(), **slots}.items()}


@torch.no_grad()
def put(museum: Museum, numbers: Numbers) -> None:
    """Give a museum these numbers."""
    museum.network.load_tensors({name: value for name, value in numbers.items() if not name.startswith("slot ")})
    for name, slot in museum.slots.slots.items():
        slot.vectors[0].copy_(numbers[f"slot {name}"])


def _ups(numbers: Numbers, change: Callable[[str, Tensor], Tensor]) -> Numbers:
    return {name: change(name, value) if ".lora_up." in name else value for name, value in numbers.items()}


def scaled(factor: float) -> Damage:
    """The whole LoRA `factor` times as strong."""
    return Damage(f"LoRA times {factor:g}", lambda numbers: _ups(numbers, lambda _, up: up * factor))


def noisy(share: float, seed: int) -> Damage:
    """Noise on both low-rank factors: `share` of each one's own spread."""

    def apply(numbers: Numbers) -> Numbers:
        rng = torch.Generator().manual_seed(seed)
        return {
            name: value + share * value.std() * torch.randn(value.shape, generator=rng) if ".lora_" in name else value
            for name, value in numbers.items()
        }

    return Damage(f"noise of {share:g}, seed {seed}", apply)


def without(part: str) -> Damage:
    """No LoRA in the modules whose key has `part` in it."""
    return Damage(f"no LoRA in {part}", lambda n: _ups(n, lambda name, up: up * 0 if part in name else up))


def fewer_ranks(kept: int) -> Damage:
    """All but the first `kept` rows of every down-projection are lost."""

    def apply(numbers: Numbers) -> Numbers:
        def cut(name: str, value: Tensor) -> Tensor:
            if ".lora_down." not in name:
                return value
            return torch.cat([value[:kept], torch.zeros_like(value[kept:])])

        return {name: cut(name, value) for name, value in numbers.items()}

    return Damage(f"{kept} ranks", apply)


def overwritten(style: str, other: str, share: float = 1.0) -> Damage:
    """`share` of the way, a style's slot becomes another's."""

    def apply(numbers: Numbers) -> Numbers:
        one, two = numbers[f"slot {style}"], numbers[f"slot {other}"]
        return {**numbers, f"slot {style}": torch.lerp(one, two, share)}

    return Damage(f"slot of {style} {share:.0%} that of {other}", apply)


def slot_noisy(style: str, share: float, seed: int) -> Damage:
    """Noise on a style's slot: `share` of its own length."""

    def apply(numbers: Numbers) -> Numbers:
        slot = numbers[f"slot {style}"]
        noise = torch.randn(slot.shape, generator=torch.Generator().manual_seed(seed))
        return {**numbers, f"slot {style}": slot + share * slot.norm() * noise / noise.norm()}

    return Damage(f"slot of {style}: noise of {share:g}", apply)


def mixed_with(other: Numbers, title: str, share: float) -> Damage:
    """`share` of the way to the LoRA of another museum of the same shape."""

    def apply(numbers: Numbers) -> Numbers:
        return {n: torch.lerp(v, other[n], share) if ".lora_" in n else v for n, v in numbers.items()}

    return Damage(f"{share:.0%} of the way to {title}", apply)


def unharmed() -> Damage:
    """The museum as it is."""
    return Damage("as taught", lambda numbers: numbers)


def damages(styles: Sequence[str]) -> list[Damage]:
    """Of a museum that knows these styles, some of them mild."""
    first, last = styles[0], styles[-1]
    mild = [scaled(0.95), scaled(1.1), noisy(0.05, 1), slot_noisy(first, 0.1, 2), overwritten(first, last, 0.1)]
    severe = [
        *(scaled(factor) for factor in (0.0, 0.3, -1.0, 1.8, 2.5)),
        *(noisy(share, seed) for share, seed in ((0.3, 3), (0.6, 4), (1.0, 5))),
        *(fewer_ranks(kept) for kept in (1, 3)),
        *(without(part) for part in ("attn2", "up_blocks", "down_blocks")),
        *(overwritten(first, last, share) for share in (0.6, 1.0)),
        *(slot_noisy(first, share, seed) for share, seed in ((1.0, 6), (3.0, 7))),
    ]
    return [unharmed(), *mild, *severe]
