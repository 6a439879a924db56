"""What a U-Net in few bits costs: the relative error of its noise prediction against float32, and its memory.

python -m benchmarks.base_precision [--full DIR] [--precisions fp16 bf16 fp8 int8 nf4]

On the pocket model, whose weights are trained, over its own pictures' captions and five noise levels; with --full also
on SD1.5 in full size with random weights (`benchmarks.full_size`, 2 GB into DIR), whose weights have no outliers.
"""

from __future__ import annotations

import argparse
import gc
import logging
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.full_size import write_sd15
from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.encode import encode_prompts
from museum_plugin.base.load import BaseModel, load_base
from museum_plugin.base.precision import store_small
from museum_plugin.config.arguments import POCKET_MODEL

PRECISIONS = ("fp16", "bf16", "fp8", "int8", "nf4")
_PROMPTS = ("a red cat in a meadow", "a blue boat in the snow", "a green house at night", "")
_TIMES = (50, 250, 500, 750, 950)


@torch.no_grad()
def predictions(base: BaseModel, side: int) -> Tensor:
    """(20, 4, side, side): for each prompt and noise level, on the same noise."""
    states, denoiser = encode_prompts(base, _PROMPTS), Denoiser(base)
    noisy = torch.randn(len(_PROMPTS), 4, side, side, generator=torch.Generator().manual_seed(0))
    return torch.cat([denoiser.predict(noisy, torch.full((len(noisy),), t), states) for t in _TIMES])


def errors(path: Path, precisions: tuple[str, ...], side: int) -> dict[str, tuple[float, float]]:
    """Precision -> ||prediction - float32's|| / ||float32's||, and GiB of the U-Net's blocks."""
    whole, found = predictions(load_base(path), side), {}
    for precision in precisions:
        gc.collect()
        base = load_base(path)
        taken = store_small(base.unet, precision)
        pred = predictions(base, side)
        found[precision] = (((pred - whole).norm() / whole.norm()).item(), taken / 2**30)
        del base
    return found


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=Path, help="where the full-size checkpoint is, or is made")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    args = parser.parse_args()
    logging.getLogger("museum").setLevel(logging.ERROR)
    models = [("pocket model", POCKET_MODEL, 16)]
    if args.full:
        file = args.full / "sd15.safetensors"
        models.append(("SD1.5, random weights", file if file.exists() else write_sd15(args.full), 8))
    for name, path, side in models:
        print(f"{name:24}{'error':>10}{'MiB':>10}")
        for precision, (error, taken) in errors(path, tuple(args.precisions), side).items():
            print(f"{precision:24}{error:10.5f}{taken * 1024:10.1f}")


if __name__ == "__main__":
    main()
