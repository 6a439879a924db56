"""The text encoders of a family: their classes, and whether they fit the U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from museum_plugin.errors import BaseModelError

TEXT_LEVEL = "text_model."
"""A level of names that transformers 5.6 dropped from the first one: files may still have it, the second one has it."""
_SIZES = 6
"""Numbers that tell the size of a picture and its crop."""


def encoder_class(number: int) -> Any:
    """The class of the first or second text encoder: the second one also projects a pooled text."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection if number else CLIPTextModel


def check_widths(path: Path, unet: Any, texts: Sequence[Any]) -> None:
    """Refuse a U-Net that takes other text states than its text encoders give.

    Args:
        unet: its configuration, as a table.
        texts: the text encoders' configurations, as tables.
    Raises:
        BaseModelError: names both widths.
    """
    states = unet.get("cross_attention_dim")
    widths = [text.get("hidden_size") for text in texts]
    if states is not None and None not in widths and states != sum(widths):
        gives = " and ".join(map(str, widths))
        raise _not_together(path, f"the U-Net takes text states of width {states}, the text encoder gives {gives}")
    whole, each, pooled = (
        unet.get("projection_class_embeddings_input_dim"), unet.get("addition_time_embed_dim"),
        texts[-1].get("projection_dim"),
    )  # fmt: skip
    if None not in (whole, each, pooled) and whole != pooled + _SIZES * each:
        taken = whole - _SIZES * each
        raise _not_together(path, f"the U-Net takes a pooled text of width {taken}, the text encoder gives {pooled}")


def _not_together(path: Path, why: str) -> BaseModelError:
    return BaseModelError(f"{path}: U-Net and text encoder do not belong together: {why}")
