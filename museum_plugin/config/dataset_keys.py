"""The keys of sd-scripts' dataset files: where each may stand and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from museum_plugin.config.convert import (
    to_bool,
    to_float,
    to_int,
    to_name,
    to_path,
    to_range,
    to_resolution,
    to_text,
    to_text_or_off,
)

LEVELS = {"G": "[general]", "D": "[[datasets]]", "S": "[[datasets.subsets]]"}


def _any(value: object, _where: str) -> object:
    return value


@dataclass(frozen=True)
class Key:
    """A key of a dataset file: where it may stand and what it holds."""

    levels: str
    """Letters of LEVELS."""
    convert: Callable[[object, str], object]
    default: object = None
    """sd-scripts' own default, for a key that is not honoured."""
    instead: str = ""
    """What is done instead, for a key that is not honoured."""


KEYS: dict[str, Key] = {
    "resolution": Key("GD", to_resolution),
    "batch_size": Key("GD", to_int),
    "enable_bucket": Key("GD", to_bool),
    "min_bucket_reso": Key("GD", to_int),
    "max_bucket_reso": Key("GD", to_int),
    "bucket_reso_steps": Key("GD", to_int),
    "bucket_no_upscale": Key("GD", to_bool),
    "num_repeats": Key("GDS", to_int),
    "caption_extension": Key("GDS", to_text),
    "class_tokens": Key("GDS", to_text),
    "caption_prefix": Key("GDS", to_text),
    "caption_suffix": Key("GDS", to_text),
    "shuffle_caption": Key("GDS", to_bool),
    "keep_tokens": Key("GDS", to_int),
    "keep_tokens_separator": Key("GDS", to_text_or_off),
    "caption_separator": Key("GDS", to_text),
    "secondary_separator": Key("GDS", to_text_or_off),
    "enable_wildcard": Key("GDS", to_bool),
    "token_warmup_min": Key("GDS", to_int),
    "token_warmup_step": Key("GDS", to_float),
    "caption_dropout_rate": Key("GDS", to_float),
    "caption_dropout_every_n_epochs": Key("GDS", to_int),
    "caption_tag_dropout_rate": Key("GDS", to_float),
    "flip_aug": Key("GDS", to_bool),
    "random_crop": Key("GDS", to_bool),
    "color_aug": Key("GDS", to_bool),
    "resize_interpolation": Key("GDS", to_text),
    "face_crop_aug_range": Key("GDS", to_range),
    "skip_image_resolution": Key("GD", to_resolution),
    "validation_split": Key("GD", to_float),
    "validation_seed": Key("GD", to_int),
    "alpha_mask": Key("S", to_bool),
    "conditioning_data_dir": Key("S", to_path),
    "image_dir": Key("S", to_path),
    "metadata_file": Key("S", to_path),
    "is_reg": Key("S", to_bool),
    "style": Key("DS", to_name),
    "trigger": Key("DS", to_name),
}
NOT_HONOURED: dict[str, Key] = {
    "network_multiplier": Key(
        "GD", to_float, 1.0, "the LoRA is trained at its full strength; sd-scripts reads this key and never uses it"
    ),
    "custom_attributes": Key(
        "GDS", _any, {}, "nothing reads them here; what diff_output_preservation is for, --method does"
    ),
    "cache_info": Key(
        "GDS", to_bool, False, "captions and sizes are read anew at every start, so that none is out of date"
    ),
}
"""Known to sd-scripts, not honoured: checked, then told in a warning. Honouring one moves it to KEYS."""
FRONT_END_KEYS = {
    "name": "S",
    "max_token_length": "G",
    "multires_training": "G",
    "random_crop_padding_percent": "GDS",
}
"""Keys that training front ends write into dataset files and sd-scripts itself does not know, and where."""
MEANT = {
    "caption_ext": "caption_extension",
    "dataset_repeats": "num_repeats",
    "repeats": "num_repeats",
    "prefix": "caption_prefix",
    "suffix": "caption_suffix",
    "subset": "subsets",
}
"""Mistaken key -> the one that is meant, where spelling alone would not find it."""
