"""Every tensor of a LoRA of a full-size base has the name and shape that sd-scripts gives it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from museum_plugin.museum.keys import tensor_names
from museum_plugin.museum.lora import LoRANetwork, target_modules
from museum_plugin.museum.shape import LayerShape
from tests.full_shapes import full_shape

GOLDEN = Path(__file__).parents[2] / "golden"
RANK = 2
COUNTS = {
    "sd1": {"te": 72, "unet": 192, "with convolutions": 278},
    "sd2": {"te": 138, "unet": 192, "with convolutions": 278},
    "sdxl": {"te1": 72, "te2": 192, "unet": 722, "with convolutions": 788},
}
Shapes = dict[str, tuple[int, ...]]


def golden(family: str) -> tuple[Shapes, set[str]]:
    """Shapes of all tensors, written by sd-scripts' own network module, and the keys that only conv_dim gives."""
    shapes: Shapes = {}
    only_conv: set[str] = set()
    for line in (GOLDEN / f"lora_keys_{family}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        key, out, inside, *mark = line.split()
        width, *kernel = map(int, inside.split("x"))
        down, up, alpha = tensor_names(key)
        shapes |= {down: (RANK, width, *kernel), up: (int(out), RANK, *(1 for _ in kernel)), alpha: ()}
        only_conv |= {key} if mark else set()
    return shapes, only_conv


@pytest.mark.parametrize("family", COUNTS)
def test_names_and_shapes_are_those_of_sd_scripts(family: str) -> None:
    base = full_shape(family)
    modules = dict(target_modules(base, with_text_encoder=True, with_convolutions=True))
    shapes = dict.fromkeys(modules, LayerShape(RANK, 1.0))
    network = LoRANetwork(base, rank=RANK, alpha=1.0, seed=0, with_text_encoder=True, shapes=shapes)
    expected, only_conv = golden(family)

    assert {name: tuple(tensor.shape) for name, tensor in network.tensors().items()} == expected
    plain = {key for key, _ in target_modules(base, with_text_encoder=True)}
    assert set(modules) - plain == only_conv
    counts = dict(Counter(key.split("_")[1] for key in plain))
    counts["with convolutions"] = sum(key.startswith("lora_unet_") for key in modules)
    assert counts == COUNTS[family]
