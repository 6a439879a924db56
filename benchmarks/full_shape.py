"""A checkpoint of a real base model's full size with random weights: do we read it as diffusers does, tensor by tensor,
and does one U-Net prediction agree?

    python -m benchmarks.full_shape --folder full [--families sd1 sd2 sdxl]

Writes 2 GB (SD1), 2.5 GB (SD2) and 7 GB (SDXL) into the folder, needs two and a half times as much memory, and prints
what was compared and what our own reading took.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from museum_plugin.base.clip_tokenizer import clip_tokenizer
from museum_plugin.base.family import FAMILIES, SD1, SD2, SDXL, Family
from museum_plugin.base.layout import family_facts
from museum_plugin.base.load import load_base
from museum_plugin.base.single_file import Sketch, sketch_single_file
from tests.original_layout import Tensors, open_clip_tensors, original_vae, unet_name
from tests.sdxl_models import MODEL_INDEX

_TILE = 1_000_003
"""Random numbers that are laid one after another; no side of a tensor divides it."""
_INDEX = (
    '{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], '
    '"vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"], '
    '"tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"], '
    '"safety_checker": [null, null], "feature_extractor": [null, null], "image_encoder": [null, null]}'
)
_FOUR = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
}
_UNETS: dict[Family, dict[str, Any]] = {
    SD1: {**_FOUR, "cross_attention_dim": 768, "attention_head_dim": 8},
    SD2: {**_FOUR, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
    SDXL: {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "projection_class_embeddings_input_dim": 2816,
    },
}
_TEXTS: dict[Family, tuple[tuple[Callable[..., nn.Module], int, int], ...]] = {
    SD1: ((CLIPTextModel, 768, 12),),
    SD2: ((CLIPTextModel, 1024, 23),),
    SDXL: ((CLIPTextModel, 768, 12), (CLIPTextModelWithProjection, 1280, 32)),
}
"""Class, width, layers."""


def networks(family: Family) -> dict[str, Any]:
    """The parts of a base model without numbers."""
    facts = family_facts(family)
    with torch.device("meta"):
        texts = {
            folder: make(
                CLIPTextConfig(
                    **{
                        **facts[folder], "hidden_size": width, "intermediate_size": 4 * width,
                        "num_hidden_layers": layers, "num_attention_heads": width // 64, "projection_dim": width,
                    }
                )
            )
            for folder, (make, width, layers) in zip(family.text_folders, _TEXTS[family], strict=True)
        }  # fmt: skip
        return {
            "unet": UNet2DConditionModel(**{**facts["unet"], **_UNETS[family]}),
            "vae": AutoencoderKL(
                **facts["vae"], block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            ),
            **texts,
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


def write(family: Family, folder: Path) -> Path:
    """The configurations of a diffusers folder, and beside them one checkpoint in the original layout."""
    rng, found = torch.Generator().manual_seed(0), Tensors()
    parts = networks(family)
    for name, part in parts.items():
        config = part.config
        (config.save_pretrained if hasattr(config, "save_pretrained") else part.save_config)(folder / name)
    DDIMScheduler(**family_facts(family)["scheduler"]).save_pretrained(folder / "scheduler")
    for name, padding in zip(family.tokenizer_folders, family.paddings, strict=True):
        clip_tokenizer(padding).save_pretrained(folder / name)
    (folder / "model_index.json").write_text(MODEL_INDEX if family is SDXL else _INDEX, encoding="utf-8")
    unet = random_tensors(parts["unet"], rng)
    found |= {f"model.diffusion_model.{unet_name(name, 2, unet)}": tensor for name, tensor in unet.items()}
    del unet
    save_file(random_tensors(parts["vae"], rng), folder / "vae" / "diffusion_pytorch_model.safetensors")
    found |= {f"first_stage_model.{name}": tensor for name, tensor in original_vae(folder / "vae").items()}
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    texts = [random_tensors(parts[name], rng) for name in family.text_folders]
    if family is SD2:
        found |= open_clip_tensors(texts[0])
    else:
        start = "conditioner.embedders.0" if family is SDXL else "cond_stage_model"
        names = {name: name.removeprefix("text_model.") for name in texts[0]}
        found |= {f"{start}.transformer.text_model.{names[name]}": tensor for name, tensor in texts[0].items()}
    if family is SDXL:
        found |= open_clip_tensors(texts[1], "conditioner.embedders.1.model.", unused=0)
    file = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, file)
    return file


def difference(sketch: Sketch, theirs: nn.Module) -> str:
    """What was compared, and how many tensors differ."""
    expected: dict[str, Tensor] = theirs.state_dict()
    names = expected.keys() ^ sketch.tensors.keys()
    other = [name for name, tensor in sketch.tensors.items() if not torch.equal(tensor, expected[name])]
    return f"{len(expected)} tensors, {len(names)} names and {len(other)} contents differ"


@torch.no_grad()
def prediction(unet: nn.Module, family: Family) -> Tensor:
    """One of 64 px, in float32, from random states."""
    rng, size = torch.Generator().manual_seed(1), unet.config.cross_attention_dim
    noisy, states = torch.randn(1, 4, 8, 8, generator=rng), torch.randn(1, 77, size, generator=rng)
    more = {}
    if family is SDXL:
        sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
        more["added_cond_kwargs"] = {"text_embeds": torch.randn(1, 1280, generator=rng), "time_ids": sizes}
    found: Tensor = unet(noisy, torch.tensor([600]), states, **more).sample
    return found


def compare(family: Family, folder: Path) -> None:
    """Write, compare, load, predict."""
    file = folder / "model.safetensors"
    if not file.exists():
        write(family, folder)
        gc.collect()
    sketch = sketch_single_file(file)
    kind = StableDiffusionXLPipeline if family is SDXL else StableDiffusionPipeline
    pipe = kind.from_single_file(file, config=str(folder), torch_dtype=torch.float16)
    ours = {"unet": sketch.unet, "vae": sketch.vae, **dict(zip(family.text_folders, sketch.text_encoders, strict=True))}
    for name, part in ours.items():
        print(f"{family.name}: {name}: {difference(part, getattr(pipe, name))}", flush=True)
    unet = pipe.unet
    del pipe, sketch, ours
    gc.collect()
    theirs = prediction(unet.float(), family)
    del unet
    gc.collect()
    begun = time.perf_counter()
    base = load_base(file)
    seconds = time.perf_counter() - begun
    count = sum(p.numel() for part in (base.unet, base.vae, *base.text_encoders) for p in part.parameters())
    print(f"{family.name}: load_base: {count / 1e9:.2f} billion numbers in float32, {seconds:.0f} s", flush=True)
    apart = (prediction(base.unet, family) - theirs).abs().max().item()
    print(f"{family.name}: one prediction: apart by {apart:.1e} at most, of {theirs.abs().max():.1e}", flush=True)


def main() -> None:
    """Each family in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--families", nargs="+", default=["sd1", "sd2", "sdxl"], choices=FAMILIES)
    args = parser.parse_args()
    for name in args.families:
        compare(FAMILIES[name], args.folder / name)
        gc.collect()


if __name__ == "__main__":
    main()
