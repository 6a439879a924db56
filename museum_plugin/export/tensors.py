"""The slots of a museum as other programs find them. Pure functions of tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

CLIP_VOCABULARY = 49408
"""Rows of the token embedding table of every CLIP text encoder of SD1, SD2 and SDXL."""
INVOKE_KEY = "text_encoders.diff"
"""An empty change beside `table_key`: Invoke groups both under one name and then takes them for a layer it knows."""


def table_key(encoder: str) -> str:
    """ComfyUI's own name of a token embedding table, without ".weight"."""
    return f"text_encoders.{encoder}.transformer.text_model.embeddings.token_embedding"


def bundle_key(phrase: str, encoder: str, encoders: Sequence[str]) -> str:
    """The name of a slot that A1111 and SD.Next read out of a LoRA file.

    With one text encoder any leaf will do; "dora_scale" is one that diffusers leaves out of its own accord. With two,
    the leaf says which.
    """
    return f"bundle_emb.{phrase}.{encoder if len(encoders) > 1 else 'dora_scale'}"


def bundled(slots: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The slots as embeddings inside a LoRA file.

    Args:
        slots: phrase -> encoder -> (n, d).
    Returns:
        one tensor for each phrase and encoder, float32.
    """
    return {
        bundle_key(phrase, encoder, tuple(vectors)): vector.detach().float().clone()
        for phrase, vectors in slots.items()
        for encoder, vector in vectors.items()
    }


def table_patch(
    encoder: str, token_ids: Sequence[int], learned: Tensor, base: Tensor, vocabulary: int = CLIP_VOCABULARY
) -> dict[str, Tensor]:
    """The slots of one text encoder as a low-rank change of its embedding table.

        table + up @ down: up[id_i, i] = 1, down[i] = learned[i] - base[i]

    Every other row stays bit for bit, since 0 is added to it. At strength s a slot is base + s (learned - base).
    Source: ours; ComfyUI patches any weight of a text encoder by its own name.

    Args:
        token_ids: r different ids, one for each row.
        learned, base: (r, d).
        vocabulary: rows of the table.
    Returns:
        two tensors, (vocabulary, r) and (r, d), float32; without alpha, so the scale is 1.
    Raises:
        ValueError: shapes do not agree, or an id lies beyond the table.
    """
    if learned.shape != base.shape or len(token_ids) != len(learned):
        raise ValueError(f"{len(token_ids)} ids, learned {tuple(learned.shape)}, base {tuple(base.shape)}")
    if token_ids and max(token_ids) >= vocabulary:
        raise ValueError(f"token {max(token_ids)} lies beyond a table of {vocabulary} rows")
    up = torch.zeros(vocabulary, len(token_ids))
    up[list(token_ids), range(len(token_ids))] = 1
    key = table_key(encoder)
    return {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": learned.float() - base.float()}


def with_even_alphas(lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same LoRA with one alpha in all layers of a network: diffusers passes over any other of many layers.

        up' = up * alpha / alpha', so that alpha' / rank * up' @ down = alpha / rank * up @ down

    Source: ours; seen in diffusers 0.42, which looks for the layers of text encoders and of attention by other names.
    """
    found = dict(lora)
    for part in ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_"):
        names = [name for name in lora if name.startswith(part) and name.endswith(".alpha")]
        if len({lora[name].item() for name in names}) < 2:
            continue
        even = Counter(lora[name].item() for name in names).most_common(1)[0][0]
        for name in names:
            up = f"{name.removesuffix('.alpha')}.lora_up.weight"
            found[up] = lora[up] * (lora[name].item() / even)
            found[name] = torch.full_like(lora[name], even)
    return found


def sidecar(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One slot as an embedding file: `emb_params` for one text encoder, `clip_l` and `clip_g` for SDXL's two.

    Args:
        vectors: encoder -> (n, d).
    """
    alone = len(vectors) == 1
    return {"emb_params" if alone else name: vector.detach().float().clone() for name, vector in vectors.items()}
