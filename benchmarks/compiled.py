"""What compiling the transformer blocks costs and changes: a LoRA on the pocket model, forward and backward.

python -m benchmarks.compiled [--backend inductor] [--sides 16 24] [--passes 5]

Prints for each size of latents the seconds of the first pass (with compiling) and of a later one, and the largest
difference of prediction and gradients as a share of the largest number; seconds are those of the clock, one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
from torch import Tensor

from museum_plugin.base.compiled import compiled
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.config.arguments import POCKET_MODEL
from museum_plugin.museum.lora import LoRANetwork
from tests.tiny_museums import shake

Passes = dict[int, tuple[list[float], tuple[Tensor, ...]]]
"""Side of the latents -> seconds of each pass, and prediction and gradients of the last."""


def run(base: BaseModel, sides: list[int], passes: int, backend: str | None) -> Passes:
    """The passes of one kind; `backend` None: not compiled."""
    network = LoRANetwork(base, rank=4, alpha=4.0, seed=0, with_text_encoder=False)
    shake(network, torch.Generator().manual_seed(0), size=0.05)
    width, found = base.text_encoders[0].config.hidden_size, Passes()
    with network.attached(), compiled(base.unet, backend) if backend else nullcontext():
        for side in sides:
            rng, seconds = torch.Generator().manual_seed(side), list[float]()
            noisy, text = torch.randn(2, 4, side, side, generator=rng), torch.randn(2, 77, width, generator=rng)
            for _ in range(passes):
                begun = time.perf_counter()
                pred = base.unet(noisy, torch.tensor([5, 700]), text).sample
                gradients = torch.autograd.grad(pred.square().mean(), list(network.parameters()))
                seconds.append(time.perf_counter() - begun)
            found[side] = (seconds, (pred.detach(), torch.cat([gradient.flatten() for gradient in gradients])))
    return found


def difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """The largest, as a share of the largest number."""
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="inductor")
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 24])
    parser.add_argument("--passes", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = load_base(POCKET_MODEL)
    plain = run(base, args.sides, args.passes, None)
    found = run(base, args.sides, args.passes, args.backend)
    print(f"{'latents':10}{'plain s':>10}{'first s':>10}{'later s':>10}{'difference':>14}")
    for side in args.sides:
        (seconds, expected), (ours, result) = plain[side], found[side]
        usual, later = statistics.median(seconds[1:]), statistics.median(ours[1:])
        print(f"{side:<10}{usual:10.2f}{ours[0]:10.2f}{later:10.2f}{difference(result, expected):14.1e}")


if __name__ == "__main__":
    main()
