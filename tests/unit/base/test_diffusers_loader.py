"""diffusers' own reader of single files gives the same networks as ours, tensor by tensor; in small, for every family.

`benchmarks/full_shape.py` does the same on checkpoints of full size.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

from museum_plugin.base.load import load_base
from tests.original_layout import original_tensors, write_true_base
from tests.sdxl_models import TRUE, sdxl_tensors, write_tiny_sdxl
from tests.tiny_models import write_model_index

KINDS = {  # SDXL: diffusers tells its text encoders apart by their widths
    "sd1": (write_true_base, original_tensors, StableDiffusionPipeline),
    "sd2": (partial(write_true_base, sd2=True), original_tensors, StableDiffusionPipeline),
    "sdxl": (
        partial(write_tiny_sdxl, sizes={**TRUE, "texts": (64, 128), "pooled": 128}),
        sdxl_tensors,
        StableDiffusionXLPipeline,
    ),
}


@pytest.mark.parametrize("family", KINDS)
def test_a_file_is_read_as_diffusers_reads_it(tmp_path: Path, family: str) -> None:
    write, tensors, kind = KINDS[family]
    folder = write(tmp_path / "base")
    if family != "sdxl":
        write_model_index(folder)
    file = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors(folder).items()}, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = kind.from_single_file(file, config=str(folder), torch_dtype=torch.float32)

    ours = load_base(file)

    parts = {"unet": ours.unet, "vae": ours.vae, **dict(zip(ours.family.text_folders, ours.text_encoders, strict=True))}
    for name, part in parts.items():
        found, expected = part.state_dict(), getattr(theirs, name).state_dict()
        assert found.keys() == expected.keys()
        assert [key for key in found if not torch.equal(found[key], expected[key])] == [], name
