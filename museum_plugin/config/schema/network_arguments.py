"""What sd-scripts takes as `network_args`, typed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from museum_plugin.config.schema.require import require

WEIGHT_PRESETS = ("sine", "cosine", "linear", "reverse_linear", "zeros")
"""Curves of learning rates over the blocks, by sd-scripts' names; "+0.25" behind one is added to each weight."""
BLOCK_COUNTS = (25, 23)
"""Blocks of the U-Net of SD1 and SD2, and of SDXL, as sd-scripts counts them."""
_SIDE_BLOCKS = 12
_NEEDS_BLOCK_DIMS = ("block_alphas", "conv_block_dims", "conv_block_alphas")


@dataclass(frozen=True)
class NetworkArguments:
    """What sd-scripts takes as `network_args`; names are sd-scripts' own, None means not given."""

    conv_dim: int | None = None
    """Rank on 3x3 convolutions; with it the U-Net's ResNet blocks and samplers get layers too (LoCon)."""
    conv_alpha: float | None = None
    """scale = conv_alpha / conv_dim; 1 where it is not given, as in sd-scripts."""
    rank_dropout: float = 0.0
    """Share of a layer's ranks left out for a sample, 0..1."""
    module_dropout: float = 0.0
    """Share of steps in which a layer does nothing, 0..1."""
    block_dims: tuple[int, ...] | None = None
    """Rank for each block of the U-Net; 0: no layers there."""
    block_alphas: tuple[float, ...] | None = None
    conv_block_dims: tuple[int, ...] | None = None
    """The same of 3x3 convolutions."""
    conv_block_alphas: tuple[float, ...] | None = None
    down_lr_weight: tuple[float, ...] | str | None = None
    """Factor of the learning rate for each down block, or a preset; 0: no layers there."""
    mid_lr_weight: tuple[float, ...] | None = None
    up_lr_weight: tuple[float, ...] | str | None = None
    block_lr_zero_threshold: float = 0.0
    """Factors up to this count as 0."""
    loraplus_lr_ratio: float | None = None
    """Learning rate of `up` over that of `down` (LoRA+, arXiv:2402.12354)."""
    loraplus_unet_lr_ratio: float | None = None
    loraplus_text_encoder_lr_ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("rank_dropout", "module_dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, f"network_args: {name}: found {value}, must be 0 or more and below 1")
        for name in ("conv_dim", "conv_alpha", "loraplus_lr_ratio", *_ratios()):
            value = getattr(self, name)
            require(value is None or value > 0, f"network_args: {name}: found {value}, must be greater than 0")
        self._check_blocks()
        self._check_weights()

    def given(self) -> dict[str, object]:
        """The arguments that are not at their default."""
        return {field.name: getattr(self, field.name) for field in fields(self) if self._is_given(field.name)}

    @property
    def by_block(self) -> bool:
        """Whether ranks are given block by block."""
        weights = (self.down_lr_weight, self.mid_lr_weight, self.up_lr_weight)
        return self.block_dims is not None or any(weight is not None for weight in weights)

    @property
    def with_convolutions(self) -> bool:
        """Whether ResNet blocks and samplers get layers."""
        return self.conv_dim is not None or (self.conv_block_dims is not None and self.by_block)

    def loraplus_ratio(self, part: str) -> float:
        """Learning rate of `up` over that of `down`.

        Args:
            part: "unet" | "text_encoder".
        """
        return getattr(self, f"loraplus_{part}_lr_ratio") or self.loraplus_lr_ratio or 1.0

    def _is_given(self, name: str) -> bool:
        return getattr(self, name) != type(self).__dataclass_fields__[name].default

    def _check_blocks(self) -> None:
        counts = " or ".join(str(count) for count in BLOCK_COUNTS)
        for name in ("block_dims", *_NEEDS_BLOCK_DIMS):
            values = getattr(self, name)
            require(
                values is None or len(values) in BLOCK_COUNTS,
                f"network_args: {name}: found {len(values or ())} numbers, must be {counts}, one for each block",
            )
            require(values is None or min(values) >= 0, f"network_args: {name}: found {values}, must be 0 or more")
        for name in _NEEDS_BLOCK_DIMS:
            require(
                getattr(self, name) is None or self.by_block,
                f"network_args: {name}: needs block_dims or weights of the blocks' learning rates",
            )
        require(
            self.conv_alpha is None or self.conv_dim is not None or self.conv_block_dims is not None,
            f"network_args: conv_alpha: found {self.conv_alpha}, which needs conv_dim",
        )
        require(
            self.conv_block_alphas is None or self.conv_block_dims is not None,
            "network_args: conv_block_alphas: needs conv_block_dims",
        )

    def _check_weights(self) -> None:
        for name, longest in (("down_lr_weight", _SIDE_BLOCKS), ("up_lr_weight", _SIDE_BLOCKS), ("mid_lr_weight", 3)):
            values = getattr(self, name)
            if isinstance(values, str):
                preset, _, added = values.partition("+")
                require(
                    preset in WEIGHT_PRESETS and _is_number(added or "0"),
                    f"network_args: {name}: found {values!r}, allowed: up to {longest} numbers, "
                    f"{', '.join(WEIGHT_PRESETS)}, or one of these with a number added, such as sine+0.25",
                )
                continue
            require(
                values is None or 1 <= len(values) <= longest,
                f"network_args: {name}: found {len(values or ())} numbers, allowed: 1 to {longest}",
            )
            require(values is None or min(values) >= 0, f"network_args: {name}: found {values}, must be 0 or more")
        require(
            self.block_lr_zero_threshold >= 0,
            f"network_args: block_lr_zero_threshold: found {self.block_lr_zero_threshold}, must be 0 or more",
        )


def _ratios() -> tuple[str, str]:
    return "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio"


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
