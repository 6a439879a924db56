"""A checkpoint of SDXL's full size with random weights: do we read it as diffusers does, tensor by tensor?

    python -m benchmarks.sdxl_full_shape --folder sdxl-full

Writes 7 GB into the folder, needs 14 GB of memory, and prints what was compared and what our own reading took.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from museum_plugin.base.clip_tokenizer import clip_tokenizer
from museum_plugin.base.family import SDXL
from museum_plugin.base.layout import family_facts
from museum_plugin.base.load import load_base
from museum_plugin.base.single_file import Sketch, sketch_single_file
from tests.original_layout import Tensors, open_clip_tensors, original_vae, unet_name
from tests.sdxl_models import MODEL_INDEX

_TILE = 1_000_003
"""Random numbers that are laid one after another; no side of a tensor divides it."""


def networks() -> dict[str, Any]:
    """The parts of SDXL without numbers."""
    facts = family_facts(SDXL)
    attends = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    text = {"num_attention_heads": 12, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    large = {"num_attention_heads": 20, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(
                **facts["unet"], block_out_channels=(320, 640, 1280), down_block_types=attends,
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=2048,
                attention_head_dim=(5, 10, 20), transformer_layers_per_block=(1, 2, 10),
                projection_class_embeddings_input_dim=2816,
            ),
            "vae": AutoencoderKL(
                **facts["vae"], block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            ),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**text, **facts["text_encoder"])),
            "text_encoder_2": CLIPTextModelWithProjection(
                CLIPTextConfig(**large, **facts["text_encoder_2"], projection_dim=1280)
            ),
        }  # fmt: skip


def random_tensors(network: nn.Module, rng: torch.Generator) -> Tensors:
    """fp16 numbers for every tensor of a network."""
    tile = (torch.randn(_TILE, generator=rng) * 0.02).half()
    found: Tensors = {}
    for number, (name, empty) in enumerate(network.state_dict().items()):
        count, shift = empty.numel(), 7919 * number % _TILE
        rows = -(-(count + shift) // _TILE)
        found[name] = tile.repeat(rows)[shift : shift + count].view(empty.shape).clone()
    return found


def write(folder: Path) -> Path:
    """The configurations of a diffusers folder, and beside them one checkpoint in the original layout."""
    rng, found = torch.Generator().manual_seed(0), Tensors()
    parts = networks()
    for name, part in parts.items():
        config = part.config
        (config.save_pretrained if hasattr(config, "save_pretrained") else part.save_config)(folder / name)
    DDIMScheduler(**family_facts(SDXL)["scheduler"]).save_pretrained(folder / "scheduler")
    for name, padding in zip(SDXL.tokenizer_folders, SDXL.paddings, strict=True):
        clip_tokenizer(padding).save_pretrained(folder / name)
    (folder / "model_index.json").write_text(MODEL_INDEX, encoding="utf-8")
    unet = random_tensors(parts["unet"], rng)
    found |= {f"model.diffusion_model.{unet_name(name, 2, unet)}": tensor for name, tensor in unet.items()}
    del unet
    save_file(random_tensors(parts["vae"], rng), folder / "vae" / "diffusion_pytorch_model.safetensors")
    found |= {f"first_stage_model.{name}": tensor for name, tensor in original_vae(folder / "vae").items()}
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    first = random_tensors(parts["text_encoder"], rng)
    found |= {f"conditioner.embedders.0.transformer.text_model.{name}": tensor for name, tensor in first.items()}
    second = random_tensors(parts["text_encoder_2"], rng)
    found |= open_clip_tensors(second, "conditioner.embedders.1.model.", unused=0)
    file = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, file)
    return file


def difference(sketch: Sketch, theirs: nn.Module) -> str:
    """What was compared, and how many tensors differ."""
    expected: dict[str, Tensor] = theirs.state_dict()
    names = expected.keys() ^ sketch.tensors.keys()
    other = [name for name, tensor in sketch.tensors.items() if not torch.equal(tensor, expected[name])]
    return f"{len(expected)} tensors, {len(names)} names and {len(other)} contents differ"


def main() -> None:
    """Write, compare, load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    folder: Path = parser.parse_args().folder
    file = folder / "model.safetensors"
    if not file.exists():
        write(folder)
        gc.collect()
    sketch = sketch_single_file(file)
    pipe = StableDiffusionXLPipeline.from_single_file(file, config=str(folder), torch_dtype=torch.float16)
    ours = {"unet": sketch.unet, "vae": sketch.vae, **dict(zip(SDXL.text_folders, sketch.text_encoders, strict=True))}
    for name, part in ours.items():
        print(f"{name}: {difference(part, getattr(pipe, name))}")
    del pipe, sketch, ours
    gc.collect()
    begun = time.perf_counter()
    base = load_base(file)
    seconds = time.perf_counter() - begun
    count = sum(p.numel() for part in (base.unet, base.vae, *base.text_encoders) for p in part.parameters())
    print(f"load_base: {count / 1e9:.2f} billion numbers in float32, {seconds:.0f} s")


if __name__ == "__main__":
    main()
