"""Text encoders of a checkpoint in the original layout -> the names of transformers. Strings and slices only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace

from torch import Tensor

from museum_plugin.base.layout import CLIP, OPEN_CLIP

_SD2_LAYERS = 23
"""Layers of SD2's text encoder that are used, of 24: SD2 was trained on the output of the last but one."""
_NO_PART = re.compile(r"(^|\.)(position_ids|logit_scale|attn_mask)$")
"""What text encoders in files have and ours do not need."""
_PROJECTION = re.compile(r"(^|\.)text_projection(\.weight)?$")


def text_tensors(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """The tensors of the first or second text encoder, names without `text_model.`.

    OpenAI's CLIP (SD1, the first of SDXL); OpenCLIP without its last layer and its projection (SD2), or with both
    (the second of SDXL).

    Raises:
        KeyError: a tensor is missing that tells a size.
    """
    own = {n: t for n, t in tensors.items() if not _NO_PART.search(n) and (number or not _PROJECTION.search(n))}
    prefix = OPEN_CLIP[number]
    if number or any(name.startswith(prefix) for name in own):
        own = {name: tensor for name, tensor in own.items() if name.startswith(prefix)}
        renamed = _open_clip(own if number else _without_last_layer(own, prefix), prefix)
    else:
        renamed = _openai_clip(own)
    return {name.removeprefix("text_model."): tensor for name, tensor in renamed.items()}


def _openai_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint

    return dict(convert_ldm_clip_checkpoint({n: t for n, t in tensors.items() if n.startswith(CLIP)}))


def _open_clip(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    width = tensors[f"{prefix}token_embedding.weight"].shape[1]
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=width))  # all that the function reads of it
    return dict(convert_open_clip_checkpoint(model, dict(tensors), prefix=prefix))


def _without_last_layer(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Unless a file has left it out already."""
    layer = re.compile(re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")
    last = max(int(match[1]) for name in tensors if (match := layer.match(name)))
    used = last + 1 if last + 1 == _SD2_LAYERS else last
    return {n: t for n, t in tensors.items() if not ((match := layer.match(n)) and int(match[1]) >= used)}
