"""The pocket model's autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from museum_plugin.pocket.pictures import broad_pictures, to_unit

_HUE_WEIGHT = 8.0


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1 at three scales plus L1 of the gradients, so that lines stay sharp. Source: ours.

    Args:
        decoded, images: (B, 3, H, W) in [-1, 1].
    Returns:
        Scalar.
    """
    loss = (decoded - images).abs().mean()
    for factor in (2, 4):
        loss = loss + 0.5 * (F.avg_pool2d(decoded, factor) - F.avg_pool2d(images, factor)).abs().mean()
    for dim in (2, 3):
        loss = loss + 0.5 * (decoded.diff(dim=dim) - images.diff(dim=dim)).abs().mean()
    return loss


def color_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Squared error at three coarse scales, eight times as heavy for hue as for light: lines alone teach no color.

    Source: ours.

    Args:
        decoded, images: (B, 3, H, W) in [-1, 1].
    Returns:
        Scalar.
    """
    loss = torch.zeros(())
    for factor in (2, 4, 8):
        error = F.avg_pool2d(decoded - images, factor)
        light = error.mean(dim=1, keepdim=True)
        loss = loss + light.square().mean() + _HUE_WEIGHT * (error - light).square().mean()
    return loss


@dataclass(frozen=True)
class VaePlan:
    """How long and on what an autoencoder is trained."""

    steps: int
    seed: int
    color_weight: float = 0.0
    """Weight of `color_loss`: 0 while shapes are learned, then high."""
    kl_weight: float = 1e-3
    batch_size: int = 8
    pictures: int = 12_000
    learning_rate: float = 2e-3


def train_vae(vae: AutoencoderKL, plan: VaePlan) -> AutoencoderKL:
    """Train an autoencoder and set its `scaling_factor` so that latents have unit variance."""
    torch.manual_seed(plan.seed)
    data = broad_pictures(plan.pictures, plan.seed)
    vae = vae.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), plan.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.steps, pct_start=0.05
    )
    bar = tqdm(range(plan.steps), desc="VAE", mininterval=5)
    for _ in bar:
        images = to_unit(data[torch.randint(len(data), (plan.batch_size,))])
        posterior = vae.encode(images).latent_dist
        decoded = vae.decode(posterior.sample()).sample
        loss = reconstruction_loss(decoded, images) + plan.color_weight * color_loss(decoded, images)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        (loss + plan.kl_weight * kl).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", kl=f"{kl.item():.2f}", refresh=False)
    vae.eval()
    with torch.inference_mode():
        latents = torch.cat([vae.encode(to_unit(part)).latent_dist.mean for part in data[:512].split(64)])
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae.to(memory_format=torch.contiguous_format)
