"""The pocket model's U-Net and text encoder, trained together as a latent diffusion model."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from museum_plugin.pocket.models import new_scheduler, new_text_encoder, new_unet
from museum_plugin.pocket.pictures import captioned_pictures, to_unit
from museum_plugin.pocket.scenes import training_scenes

_CAPTION_DROPOUT = 0.1
_MIN_SNR_GAMMA = 5.0
_SAVE_EVERY = 500
_SET_FILE = "training_set.pt"


class PocketDenoiser(nn.Module):
    """The two networks that are trained together, as one module."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder: CLIPTextModel = new_text_encoder(tokenizer)
        self.unet = new_unet()

    def forward(self, noisy: Tensor, t: Tensor, token_ids: Tensor) -> Tensor:
        """(B, 4, h, w) predicted noise."""
        states = self.text_encoder(token_ids).last_hidden_state
        return self.unet(noisy, t, states).sample

    def save(self, folder: Path) -> None:
        """Write both networks in half precision, in diffusers' layout."""
        half = copy.deepcopy(self).half()
        half.text_encoder.save_pretrained(folder / "text_encoder")
        half.unet.save_pretrained(folder / "unet")


def encode_pictures(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Scaled latents (N, 4, h, w) of uint8 pictures."""
    parts = []
    with torch.inference_mode():
        for part in tqdm(pictures.split(50), desc="encoding", mininterval=5):
            parts.append(vae.encode(to_unit(part)).latent_dist.mean * vae.config.scaling_factor)
    return torch.cat(parts)


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Short warm-up, a plateau, and a linear fall to zero over the last quarter."""
    warm_up, fall = 200, steps // 4
    return peak * min(1.0, (step + 1) / warm_up, (steps - step) / fall)


def _update_average(average: nn.Module, model: nn.Module, step: int) -> None:
    decay = min(0.999, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 1 - decay)


@dataclass(frozen=True)
class UnetPlan:
    """How long and on how much the denoiser is trained."""

    steps: int
    seed: int
    batch_size: int = 16
    pictures: int = 12_000
    learning_rate: float = 1e-3


def _training_set(folder: Path, plan: UnetPlan) -> tuple[Tensor, list[str]]:
    """Latents (N, 4, h, w) of drawn pictures, and a caption for each."""
    file = folder / _SET_FILE
    if file.exists():
        stored = torch.load(file)
        return stored["latents"], stored["captions"]
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
    images, captions = captioned_pictures(training_scenes(), plan.pictures, plan.seed)
    latents = encode_pictures(vae, images)
    torch.save({"latents": latents, "captions": captions}, file)
    return latents, captions


def train_unet(folder: Path, tokenizer: CLIPTokenizer, plan: UnetPlan) -> None:
    """Train on held-in scenes and write the moving average of the weights to `folder`, every 500 steps and at the end.

    A run that was stopped goes on from `training_set.pt` and `training_state.pt` in `folder`, removed at the end.
    """
    torch.manual_seed(plan.seed)
    latents, captions = _training_set(folder, plan)
    ids = tokenizer(["", *captions], padding="max_length", return_tensors="pt").input_ids
    empty, ids = ids[0], ids[1:]
    model = PocketDenoiser(tokenizer).train()
    average = copy.deepcopy(model).eval()
    optimizer = torch.optim.AdamW(
        model.parameters(), plan.learning_rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
    )
    alpha_bar = new_scheduler().alphas_cumprod
    state_file, start = folder / "training_state.pt", 0
    if state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    bar, smooth = (
        tqdm(range(start, plan.steps), desc="U-Net", initial=start, total=plan.steps, mininterval=10),
        math.nan,
    )
    for step in bar:
        rng = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        pick = torch.randint(len(latents), (plan.batch_size,), generator=rng)
        clean = latents[pick]
        dropped = torch.rand(plan.batch_size, 1, generator=rng) < _CAPTION_DROPOUT
        token_ids = torch.where(dropped, empty, ids[pick])
        t = torch.randint(len(alpha_bar), (plan.batch_size,), generator=rng)
        noise = torch.randn(clean.shape, generator=rng)
        level = alpha_bar[t].view(-1, 1, 1, 1)
        pred = model(level.sqrt() * clean + (1 - level).sqrt() * noise, t, token_ids)
        snr = (level / (1 - level)).flatten()
        weight = snr.clamp(max=_MIN_SNR_GAMMA) / snr
        loss = ((pred - noise).square().mean(dim=(1, 2, 3)) * weight).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, plan.steps, plan.learning_rate)
        optimizer.step()
        _update_average(average, model, step)
        smooth = loss.item() if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
        bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == plan.steps:
            average.save(folder)
            torch.save(
                {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                },
                state_file,
            )
    state_file.unlink(missing_ok=True)
    (folder / _SET_FILE).unlink(missing_ok=True)
