"""Reading `network_args`: sd-scripts' key=value pairs, or a table."""

from __future__ import annotations

from collections.abc import Callable

from museum_plugin.config.convert import each, to_float, to_int, to_text
from museum_plugin.config.pairs import to_pairs
from museum_plugin.config.refusal import TAUGHT_BASES, did_you_mean, refusal
from museum_plugin.config.schema.network_arguments import NetworkArguments
from museum_plugin.errors import ConfigError

Convert = Callable[[object, str], object]


def _optional(convert: Convert) -> Convert:
    """0 counts as not given: front ends write `conv_dim=0`."""
    return lambda value, where: convert(value, where) or None


def _many(convert: Convert) -> Convert:
    def read(value: object, where: str) -> tuple[object, ...]:
        parts = value.split(",") if isinstance(value, str) else each(value)
        # sd-scripts: nothing between two commas is 0
        return tuple(convert("0" if isinstance(part, str) and not part.strip() else part, where) for part in parts)

    return read


def _weights(value: object, where: str) -> object:
    """Numbers, or the name of a preset."""
    if isinstance(value, str) and "," not in value:
        try:
            return (to_float(value, where),)
        except ConfigError:
            return to_text(value, where).strip().lower()
    return _many(to_float)(value, where)


_KINDS: dict[str, Convert] = {
    "conv_dim": _optional(to_int),
    "conv_alpha": _optional(to_float),
    "rank_dropout": to_float,
    "module_dropout": to_float,
    "block_dims": _many(to_int),
    "block_alphas": _many(to_float),
    "conv_block_dims": _many(to_int),
    "conv_block_alphas": _many(to_float),
    "down_lr_weight": _weights,
    "mid_lr_weight": _many(to_float),
    "up_lr_weight": _weights,
    "block_lr_zero_threshold": to_float,
    "loraplus_lr_ratio": to_float,
    "loraplus_unet_lr_ratio": to_float,
    "loraplus_text_encoder_lr_ratio": to_float,
}


_OTHER_BASES = ("flux", "sd3", "lumina", "hunyuan", "anima", "chroma", "zimage", "qwen", "wan", "musubi")
_LORAS = ("networks.lora", "networks.lora_fa")
_NONE = ("", "none", "false", "0", "0.0")
_OF_LYCORIS: dict[str, tuple[str, ...]] = {
    "algo": ("", "lora", "locon"),
    "preset": ("", "full", "attn-mlp"),
    "factor": ("", "-1"),
    **dict.fromkeys(
        (
            "dropout", "use_tucker", "use_cp", "use_conv_cp", "use_scalar", "train_norm", "dora_wd", "weight_decompose",
            "decompose_both", "rank_dropout_scale", "bypass_mode", "rescaled", "constrain", "constraint", "full_matrix",
            "unbalanced_factorization",
        ),
        _NONE,
    ),
}  # fmt: skip
"""Arguments that front ends send to LyCORIS -> the values with which it trains a plain LoRA, as networks.lora does."""


def _refuse_other_networks(pairs: dict[str, object], where: str) -> None:
    """Refuse LoHa, LoKr and the like by name, before anything that belongs to them."""
    algo = str(pairs.get("algo", "")).strip().lower()
    if algo not in _OF_LYCORIS["algo"]:
        raise refusal(f"{where}: algo", pairs["algo"], "lora, locon; only a LoRA is trained here")


def names_other_base(text: str) -> bool:
    """Whether the name of a trainer or a network is that of a base which is not taught here."""
    return any(base in text.lower() for base in _OTHER_BASES)


def to_network_module(value: object, where: str) -> str:
    """The module that sd-scripts would import: one that trains a LoRA; of those outside sd-scripts nothing is known.

    Raises:
        ConfigError: a module of sd-scripts for another base, or for something else than a LoRA.
    """
    name = to_text(value, where).strip()
    if name.startswith("networks.") and name not in _LORAS:
        reason = TAUGHT_BASES if names_other_base(name) else "only a LoRA is trained here"
        raise refusal(where, value, f"{_LORAS[0]}; {reason}")
    return name


def to_network_arguments(value: object, where: str) -> NetworkArguments:
    """The typed arguments, from `["conv_dim=4", ...]` (sd-scripts) or a table.

    Raises:
        ConfigError: no such pairs, an unknown name, or a value of the wrong type.
    """
    given = {}
    pairs = to_pairs(value, where, "name=value pairs or a table")
    _refuse_other_networks(pairs, where)
    for name, raw in pairs.items():
        if name in _OF_LYCORIS and str(raw).strip().lower() in _OF_LYCORIS[name]:
            continue
        if name not in _KINDS:
            hint = did_you_mean(name, _KINDS) if name != "dropout" else "; give it as network_dropout"
            raise refusal(where, name, ", ".join(_KINDS) + hint)
        if raw is not None and raw != "":
            given[name] = _KINDS[name](raw, f"{where}: {name}")
    rank = given.get("conv_dim")
    if "conv_dim" in given and rank is None:
        given.pop("conv_alpha", None)  # its alpha means nothing either
    elif rank is not None and "conv_alpha" in given and given["conv_alpha"] is None:
        given["conv_alpha"] = to_float(rank, where)  # sd-scripts: an alpha of 0 is the rank
    return NetworkArguments(**given)  # type: ignore[arg-type]
