"""A base model out of networks that another program has loaded, such as sd-scripts' trainers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from museum_plugin.base.family import SD2, SDXL, Family
from museum_plugin.base.hub import cached_base, is_hub_name
from museum_plugin.base.layout import UNET, family_facts, unet_config
from museum_plugin.base.lent_unet import LentUNet
from museum_plugin.base.load import BaseModel, tensors_fingerprint, weights_fingerprint
from museum_plugin.base.original_text import text_tensors
from museum_plugin.base.weight_file import read_weight_file
from museum_plugin.errors import BaseModelError

_WORDS = "embeddings.token_embedding.weight"
_PROJECTIONS = ("proj_in.weight", "proj_out.weight")


def borrowed_base(
    path: Path,
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
        path: of the base's file or folder, or its name on the hub; read where the program that lends them has rounded
            a text encoder to bf16.
        prediction_type: epsilon | v_prediction. The noise schedule is the one that the family was trained with.
        unet: called as U-Nets of diffusers are, with their names of modules; that of SDXL as sd-scripts' is.
    Raises:
        BaseModelError: the base cannot be known again.
    """
    from diffusers import DDIMScheduler

    texts = [_unrounded(path, encoder, number) for number, encoder in enumerate(text_encoders)]
    words = [next(tensor for name, tensor in text.items() if name.endswith(_WORDS)) for text in texts]
    tables = [encoder.get_input_embeddings().weight for encoder in text_encoders]
    are_own = all(word.data_ptr() == table.data_ptr() for word, table in zip(words, tables, strict=True))

    return BaseModel(
        name=path.resolve().name,
        family=family,
        prediction_type=prediction_type,
        fingerprint=tensors_fingerprint((_as_in_diffusers(unet.state_dict(), family), *texts)),
        vae_fingerprint=weights_fingerprint((vae,)),
        unet=LentUNet(unet) if family is SDXL else unet,
        vae=vae,
        text_encoders=text_encoders,
        tokenizers=tokenizers,
        alphas_cumprod=DDIMScheduler(**family_facts(family)["scheduler"]).alphas_cumprod.float(),
        exact_words=() if are_own else tuple(table.float() for table in words),
    )


def _unrounded(path: Path, encoder: nn.Module, number: int) -> Mapping[str, Tensor]:
    """A text encoder's tensors as a fingerprint needs them: bf16 has too few digits to know a base again by them."""
    own = encoder.state_dict()
    if not all(torch.equal(tensor, tensor.bfloat16().to(tensor)) for tensor in own.values()):
        return own  # not rounded; a trainer that has put it away may have made float32 of it again
    path = cached_base(path) or path if is_hub_name(path) else path
    if path.is_file():
        return text_tensors(read_weight_file(path).tensors, number)
    try:
        return load_file(path / ("text_encoder", "text_encoder_2")[number] / "model.safetensors")
    except (OSError, SafetensorError) as error:
        if next(encoder.parameters()).dtype != torch.bfloat16:
            return own
        raise BaseModelError(
            f"{path}: its text encoder was rounded to bf16 by the trainer, and no file tells which base it is "
            "of; give the path of a checkpoint or diffusers folder, or another mixed_precision"
        ) from error


def _as_in_diffusers(tensors: Mapping[str, Tensor], family: Family) -> Mapping[str, Tensor]:
    """sd-scripts makes 1x1 convolutions of the Linear projections of SD2's transformers; SDXL it names as files do."""
    if family is SDXL:
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

        own, facts = {f"{UNET}{name}": tensor for name, tensor in tensors.items()}, family_facts(family)
        renamed: dict[str, Tensor] = convert_ldm_unet_checkpoint(own, unet_config(own, facts["unet"], facts["heads"]))
        return renamed
    if family is not SD2:
        return tensors
    return {
        name: tensor.flatten(1) if name.endswith(_PROJECTIONS) and "attentions" in name else tensor
        for name, tensor in tensors.items()
    }
