"""What of a base model and its LoRA takes memory on a card: from the shapes of the real models, nothing is measured.

python -m benchmarks.bytes_on_card [--rank 16] [--bytes 2]

For each family: GiB of the frozen U-Net's weights by --blocks_to_swap, and MiB of a LoRA's gradients, all that a
backward pass fused with the optimizer could save.
"""

from __future__ import annotations

import argparse

from museum_plugin.base.swap import block_bytes, bytes_on_card, swappable
from museum_plugin.museum.lora import target_modules
from tests.full_shapes import full_shape

FAMILIES = ("sd1", "sd2", "sdxl")
SHARES = (0, 0.25, 0.5, 0.75, 1)
"""Of the blocks, swapped."""
_META = 4
"""Bytes of a number of the networks without numbers."""
_LORA = 4
"""Bytes of a number of a LoRA: float32."""


def unet_on_card(family: str, bytes_each: float) -> dict[int, float]:
    """Swapped blocks -> GiB of the U-Net's weights on the card at once."""
    unet = full_shape(family).unet
    sizes = [block_bytes(block) for block in swappable(unet)]
    rest = sum(parameter.nbytes for parameter in unet.parameters()) - sum(sizes)
    counts = [round(share * len(sizes)) for share in SHARES]
    return {count: (rest + bytes_on_card(sizes, count)) * bytes_each / _META / 2**30 for count in counts}


def gradients(family: str, rank: int) -> float:
    """MiB of the gradients of a LoRA on the U-Net."""
    targets = target_modules(full_shape(family), with_text_encoder=False, with_convolutions=False)
    sides = (module.weight.shape[0] + module.weight[0].numel() for _, module in targets)
    return rank * sum(sides) * _LORA / 2**20


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--bytes", type=float, default=2, help="of a weight of the U-Net: 2 in fp16 and bf16, 1 in fp8")
    args = parser.parse_args()
    for family in FAMILIES:
        found = unet_on_card(family, args.bytes)
        print(f"{family:6}{'blocks_to_swap':18}" + "".join(f"{count:8}" for count in found))
        print(f"{'':6}{'GiB on the card':18}" + "".join(f"{size:8.2f}" for size in found.values()))
        print(f"{'':6}{'MiB of gradients':18}{gradients(family, args.rank):8.1f}")


if __name__ == "__main__":
    main()
