"""What is trained: the shared LoRA and the slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from museum_plugin.config.schema.network_arguments import NetworkArguments
from museum_plugin.config.schema.require import require


@dataclass(frozen=True)
class NetworkConfig:
    """The shared LoRA."""

    rank: int = 16
    alpha: float = 16.0
    """scale = alpha / rank."""
    train_unet: bool = True
    train_text_encoder: bool = False
    dropout: float = 0.0
    """Share of the numbers between down and up that are left out in training, 0..1."""
    arguments: NetworkArguments = field(default_factory=NetworkArguments)
    weights: Path | None = None
    """A LoRA file that a new museum, or a plain LoRA, starts from."""
    dim_from_weights: bool = False
    """Ranks, alphas and modules are those of `weights`."""
    base_weights: tuple[Path, ...] = ()
    """LoRA files that are added to the base before anything is learned; never part of what is saved."""
    base_weights_multiplier: tuple[float, ...] = ()
    """One for each of `base_weights`; 1 where there is none."""
    scale_weight_norms: float | None = None
    """After every step, layers whose weight change has a larger norm are scaled down to it."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, f"network_dim: found {self.rank}, must be 1 or more")
        require(self.alpha > 0, f"network_alpha: found {self.alpha}, must be greater than 0")
        require(0 <= self.dropout < 1, f"network_dropout: found {self.dropout}, must be 0 or more and below 1")
        given = self.arguments
        require(
            self.weights is not None or not self.dim_from_weights,
            "dim_from_weights: needs network_weights, a LoRA file",
        )
        require(
            not self.dim_from_weights or not (given.with_convolutions or given.by_block),
            "dim_from_weights: cannot go with network_args that change ranks: they are those of network_weights",
        )
        require(
            len(self.base_weights_multiplier) <= len(self.base_weights),
            f"base_weights_multiplier: found {len(self.base_weights_multiplier)} numbers for {len(self.base_weights)} "
            "base_weights",
        )
        require(
            self.scale_weight_norms is None or self.scale_weight_norms > 0,
            f"scale_weight_norms: found {self.scale_weight_norms}, must be greater than 0",
        )
        require(self.train_unet or self.train_text_encoder, "nothing to train: both U-Net and text encoder are off")


@dataclass(frozen=True)
class SlotConfig:
    """The token slot that a style opens."""

    vectors: int = 1
    """How many embeddings (and slot words) a style gets."""
    init: str = "own"
    """What the slot starts from: "own", the slot word's own direction; or an ordinary word."""
    learning_rate: float = 5e-3
    """0 keeps the slot at its start."""
    dropout: float = 0.0
    """Share of the pictures that are learned with the plain slot words, 0..1: for clients that know no slots."""

    def __post_init__(self) -> None:
        require(1 <= self.vectors <= 16, f"slot_vectors: found {self.vectors}, allowed: 1 to 16")
        require(0 <= self.dropout < 1, f"slot_dropout: found {self.dropout}, must be 0 or more and below 1")
        require(self.learning_rate >= 0, f"slot_lr: found {self.learning_rate}, must be 0 or more")
