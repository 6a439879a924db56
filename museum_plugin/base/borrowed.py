"""A base model out of networks that another program has loaded, such as sd-scripts' trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from museum_plugin.base.family import SD2, SDXL, Family
from museum_plugin.base.load import BaseModel, tensors_fingerprint, weights_fingerprint
from museum_plugin.errors import BaseModelError

_PROJECTIONS = ("proj_in.weight", "proj_out.weight")


def borrowed_base(
    name: str,
    family: Family,
    prediction_type: str,
    *,
    unet: Any,
    vae: Any,
    text_encoders: tuple[nn.Module, ...],
    tokenizers: tuple[Any, ...],
) -> BaseModel:
    """The same base that `load_base` makes of the same weights, with the same fingerprint; nothing is copied.

    Args:
        prediction_type: epsilon | v_prediction.
        unet: called as U-Nets of diffusers are, with their names of modules.
    Raises:
        BaseModelError: an SDXL model.
    """
    if family is SDXL:
        raise BaseModelError(f"{name}: SDXL models cannot be taught from within another trainer yet")
    return BaseModel(
        name=name,
        family=family,
        prediction_type=prediction_type,
        fingerprint=tensors_fingerprint(
            (_as_in_diffusers(unet.state_dict(), family), *(encoder.state_dict() for encoder in text_encoders))
        ),
        vae_fingerprint=weights_fingerprint((vae,)),
        unet=unet,
        vae=vae,
        text_encoders=text_encoders,
        tokenizers=tokenizers,
        alphas_cumprod=training_schedule(),
    )


def training_schedule() -> Tensor:
    """(1000,) float32: alpha_bar of the noise schedule that Stable Diffusion was trained with.

        alpha_bar_t = prod_{s <= t} (1 - beta_s),  sqrt(beta) linear from sqrt(0.00085) to sqrt(0.012)

    Source: Stable Diffusion; sd-scripts uses it for every base model.
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    return torch.cumprod(1.0 - betas, dim=0)


def _as_in_diffusers(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """sd-scripts makes 1x1 convolutions of the Linear projections of SD2's transformers."""
    if family is not SD2:
        return dict(tensors)
    return {
        name: tensor.flatten(1) if name.endswith(_PROJECTIONS) and "attentions" in name else tensor
        for name, tensor in tensors.items()
    }
