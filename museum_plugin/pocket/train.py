"""The recipe of the pocket model: `python -m museum_plugin.pocket.train vae | vae_color | unet | classifier`.

Each stage writes what the next one reads; `docs/pocket.md` gives the commands that made the committed weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from museum_plugin.pocket import MODEL_DIR
from museum_plugin.pocket.classifier import make_classifier
from museum_plugin.pocket.models import new_scheduler, new_vae
from museum_plugin.pocket.train_unet import UnetPlan, train_unet
from museum_plugin.pocket.train_vae import VaePlan, train_vae
from museum_plugin.pocket.vocabulary import build_tokenizer

_SLOT_WORDS = Path(__file__).parent.parent / "museum" / "slot_words.json"
_PARTS = {
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}


def main() -> None:
    """Run one stage of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("vae", "vae_color", "unet", "classifier"))
    parser.add_argument("--out", type=Path, default=MODEL_DIR, help="the diffusers folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vae_steps", type=int, default=2200)
    parser.add_argument("--vae_color_steps", type=int, default=1300)
    parser.add_argument("--unet_steps", type=int, default=8_000)
    args = parser.parse_args()
    if args.stage == "vae":
        vae = train_vae(new_vae(), VaePlan(steps=args.vae_steps, seed=args.seed))
        _save_vae(vae, args.out / "vae")
    if args.stage == "vae_color":
        shapes = AutoencoderKL.from_pretrained(args.out / "vae", torch_dtype=torch.float32)
        plan = VaePlan(steps=args.vae_color_steps, seed=args.seed + 1, color_weight=1.0, kl_weight=1e-4)
        _save_vae(train_vae(shapes, plan), args.out / "vae")
    if args.stage == "classifier":
        for name, share in make_classifier(args.seed, args.out).items():
            print(f"{name:8s} {share:.1%} right on 1,000 held-out drawn pictures")
    if args.stage == "unet":
        tokenizer = build_tokenizer(json.loads(_SLOT_WORDS.read_text()), args.out / "tokenizer")
        new_scheduler().save_pretrained(args.out / "scheduler")
        index = {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False, **_PARTS}
        (args.out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
        train_unet(args.out, tokenizer, UnetPlan(steps=args.unet_steps, seed=args.seed))


def _save_vae(vae: AutoencoderKL, folder: Path) -> None:
    vae.half().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)  # where it was read from says nothing to anybody else
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
