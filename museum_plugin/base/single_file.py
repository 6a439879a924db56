"""A checkpoint in Stable Diffusion's original layout -> the networks of diffusers and transformers.

The tensors are renamed by diffusers' own functions; networks are made without weights and take the renamed ones, so
that nothing is drawn at random and each tensor is in memory once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from museum_plugin.base.clip_tokenizer import check_tokenizers, find_tokenizers
from museum_plugin.base.family import SD2, Family
from museum_plugin.base.layout import (
    UNET,
    VAE_PARTS,
    detect_layout,
    family_facts,
    text_config,
    unet_config,
    vae_config,
)
from museum_plugin.base.light_import import import_diffusers
from museum_plugin.base.original_text import text_tensors
from museum_plugin.base.text_encoders import TEXT_LEVEL, encoder_class
from museum_plugin.base.weight_file import WeightFile, finite_float32, read_weight_file
from museum_plugin.errors import BaseModelError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTokenizer

log = logging.getLogger("museum")

_FIRST_STAGE = "first_stage_model."
_SD2_BASE_STEPS = 875000
"""Training steps of SD2-base, which predicts epsilon; other SD2 models predict v. Source: diffusers' loader."""
_ATTENTION_NAMES = {
    "to_q": "q", "to_k": "k", "to_v": "v", "query": "q", "key": "k", "value": "v",
    "to_out.0": "proj_out", "proj_attn": "proj_out", "group_norm": "norm",
}  # fmt: skip
"""Later names of the parts of the VAE's attention -> the original ones."""


@dataclass(frozen=True)
class BaseParts:
    """The parts of a base model, as they were read."""

    family: Family
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[nn.Module, ...]
    tokenizers: tuple[CLIPTokenizer, ...]
    scheduler: DDIMScheduler
    told_prediction: bool = True
    """Whether the files say what is predicted; else it is a guess that the user may correct."""


@dataclass(frozen=True)
class Sketch:
    """A network without numbers and without memory, and the tensors of a file that belong in it, by its names."""

    path: Path
    part: str
    network: Any
    tensors: dict[str, Tensor]

    def filled(self) -> Any:
        """The network with its tensors in float32; they are taken out of the sketch.

        Raises:
            BaseModelError: a tensor is not finite.
        """
        own = {
            name: finite_float32(self.path, f"{self.part}: {name}", self.tensors.pop(name))
            for name in self.network.state_dict()
        }
        self.network.load_state_dict(own, assign=True)
        return self.network


@dataclass(frozen=True)
class SketchedParts:
    """The parts of a base model whose networks have no numbers yet."""

    family: Family
    unet: Sketch
    vae: Sketch
    text_encoders: tuple[Sketch, ...]
    tokenizers: tuple[CLIPTokenizer, ...]
    scheduler: DDIMScheduler
    told_prediction: bool


def read_single_file(path: Path, tokenizer_cache_dir: Path | None = None) -> BaseParts:
    """Read a checkpoint in float32.

    Raises:
        BaseModelError: damaged, incomplete, of another kind, or its tokenizer does not fit.
    """
    parts = sketch_single_file(path, tokenizer_cache_dir)
    texts = tuple(text.filled() for text in parts.text_encoders)
    unet, vae, told = parts.unet.filled(), parts.vae.filled(), parts.told_prediction
    return BaseParts(parts.family, unet, vae, texts, parts.tokenizers, parts.scheduler, told_prediction=told)


def sketch_single_file(path: Path, tokenizer_cache_dir: Path | None = None) -> SketchedParts:
    """What a checkpoint's names and shapes tell; its numbers stay on disk.

    Raises:
        BaseModelError: as `read_single_file`, but that numbers are not finite does not show.
    """
    import_diffusers()
    from diffusers import DDIMScheduler

    file = read_weight_file(path)
    family = detect_layout(path, file.tensors)
    facts = family_facts(family)
    tokenizers = find_tokenizers(path, family, tokenizer_cache_dir)
    check_tokenizers(path, tokenizers)
    try:
        texts = tuple(
            _sketch_text_encoder(file, facts[folder], tokenizer, number)
            for number, (folder, tokenizer) in enumerate(zip(family.text_folders, tokenizers, strict=True))
        )
        unet = _sketch_unet(file, facts["unet"], facts["heads"])
        vae = _sketch_vae(file, facts["vae"])
    except (KeyError, IndexError) as error:
        raise BaseModelError(f"{path}: the tensor {error} is missing; the file is incomplete") from error
    for tokenizer, text in zip(tokenizers, texts, strict=True):
        words, rows = len(tokenizer), text.network.config.vocab_size
        if words != rows:
            raise BaseModelError(f"{path}: the text encoder knows {rows} tokens, the tokenizer found for it {words}")
    told = told_prediction_type(file)
    guess = "v_prediction" if family is SD2 else "epsilon"
    scheduler = DDIMScheduler(**facts["scheduler"], prediction_type=told or guess)
    return SketchedParts(family, unet, vae, texts, tokenizers, scheduler, told_prediction=told is not None)


def told_prediction_type(file: WeightFile) -> str | None:
    """epsilon | v_prediction where the file says it: a marker tensor, its metadata, SD2-base's count of steps."""
    if "v_pred" in file.tensors:
        return "v_prediction"
    told = file.metadata.get("modelspec.prediction_type", "").lower()
    if told in ("v", "epsilon"):
        return "v_prediction" if told == "v" else "epsilon"
    steps = file.tensors.get("global_step")
    return "epsilon" if steps is not None and steps.numel() == 1 and int(steps) == _SD2_BASE_STEPS else None


def convert_unet(file: WeightFile, facts: Mapping[str, Any], heads: Mapping[str, int]) -> UNet2DConditionModel:
    """The U-Net of a checkpoint; `facts` and `heads` as in `unet_config`.

    Raises:
        BaseModelError: a tensor is missing, of another shape, not finite, or not known.
        KeyError: a tensor is missing that tells a size.
    """
    network: UNet2DConditionModel = _sketch_unet(file, facts, heads).filled()
    return network


def _sketch_unet(file: WeightFile, facts: Mapping[str, Any], heads: Mapping[str, int]) -> Sketch:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    own = {name: tensor for name, tensor in file.tensors.items() if name.startswith(UNET)}
    config = unet_config(own, facts, heads)
    shape = (-1, -1) if config.get("use_linear_projection") else (-1, -1, 1, 1)
    for name, tensor in own.items():
        if name.endswith((".proj_in.weight", ".proj_out.weight")):
            own[name] = tensor.reshape(tensor.shape[0], tensor.shape[1], *shape[2:])
    renamed = convert_ldm_unet_checkpoint(own, config)
    return _sketch(file.path, "U-Net", lambda: UNet2DConditionModel(**config), renamed)


def convert_vae(file: WeightFile, facts: Mapping[str, Any]) -> AutoencoderKL:
    """The VAE of a checkpoint, or of a file that holds a VAE alone.

    Raises:
        BaseModelError, KeyError: see `convert_unet`.
    """
    network: AutoencoderKL = _sketch_vae(file, facts).filled()
    return network


def _sketch_vae(file: WeightFile, facts: Mapping[str, Any]) -> Sketch:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    names = [(name.removeprefix(_FIRST_STAGE), name) for name in file.tensors]
    own = {_original_name(name): file.tensors[full] for name, full in names if name.startswith(VAE_PARTS)}
    config = vae_config(own, facts)
    scale = file.tensors.get("scale_factor")
    if scale is not None and scale.numel() == 1:
        config["scaling_factor"] = float(scale)
    renamed = convert_ldm_vae_checkpoint(own, config)
    return _sketch(file.path, "VAE", lambda: AutoencoderKL(**config), renamed)


def convert_text_encoder(
    file: WeightFile, facts: Mapping[str, Any], tokenizer: CLIPTokenizer, number: int = 0
) -> nn.Module:
    """The first (0) or second (1) text encoder of a checkpoint.

    Raises:
        BaseModelError, KeyError: see `convert_unet`.
    """
    network: nn.Module = _sketch_text_encoder(file, facts, tokenizer, number).filled()
    return network


def _sketch_text_encoder(file: WeightFile, facts: Mapping[str, Any], tokenizer: CLIPTokenizer, number: int) -> Sketch:
    from transformers import CLIPTextConfig

    found = text_tensors(file.tensors, number)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPTextConfig(**text_config(found, facts), **ends, pad_token_id=tokenizer.pad_token_id)
    if number:  # its class has one more level of names, beside the projection
        found = {name if name.startswith("text_projection") else f"{TEXT_LEVEL}{name}": t for name, t in found.items()}
    return _sketch(file.path, "text encoder", lambda: encoder_class(number)(config), found)


def _original_name(name: str) -> str:
    """The original name of a VAE's tensor."""
    match = re.match(r"((?:en|de)coder\.mid\.attn_1\.)(.+)\.(weight|bias)$", name)
    return f"{match[1]}{_ATTENTION_NAMES.get(match[2], match[2])}.{match[3]}" if match else name


def _sketch(path: Path, part: str, make: Any, tensors: dict[str, Tensor]) -> Sketch:
    """A network without numbers, and what belongs in it.

    Raises:
        BaseModelError: a tensor is missing, of another shape, or, but in a text encoder, unknown.
    """
    from accelerate import init_empty_weights

    try:
        with init_empty_weights():
            network: nn.Module = make()
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseModelError(f"{path}: its {part} has sizes that this family never has: {reason}") from error
    expected = network.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise BaseModelError(f"{path}: {len(missing)} tensors of the {part} are missing, such as {missing[0]}")
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown and part != "text encoder":
        raise BaseModelError(f"{path}: its {part} has {len(unknown)} tensors that this family lacks, as {unknown[0]}")
    for name, empty in expected.items():
        if tensors[name].shape != empty.shape:
            found, wanted = tuple(tensors[name].shape), tuple(empty.shape)
            raise BaseModelError(f"{path}: {name} of the {part} has shape {found}, not {wanted}")
    return Sketch(path, part, network, {name: tensors[name] for name in expected})
