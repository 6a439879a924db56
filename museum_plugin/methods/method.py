"""The interface of a continual-learning term, and what it is given. A term never runs the U-Net, backward or step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import Tensor

from museum_plugin.methods.bank import Bank, ReplayBatch
from museum_plugin.methods.moments import InputMoment
from museum_plugin.museum.museum import Museum

REPLAY = "replay"
"""Need: every step also predicts a batch of the bank."""
MOMENTS = "moments"
"""Need: the second moments of what old prompts feed each module of the U-Net, measured once a style."""
NEW_PICTURES = "new pictures"
"""Need: every step also predicts a batch of the new style's pictures under old triggers."""
FISHER = "fisher"
"""Need: how much old styles depend on each number of the LoRA, measured on the bank once a style."""
FEATURES = "features"
"""Need: the U-Net blocks' outputs for the bank's batch, and the previous museum's for the same."""


class Reads(Enum):
    """What a penalty is computed from. Each kind has a backward pass of its own: two are never in memory at once."""

    PICTURES = "the pass over the style's pictures"
    LORA = "the LoRA's own numbers alone"
    BANK = "the pass over the bank's batch"


@dataclass(frozen=True)
class StyleStart:
    """What a term knows when a style begins."""

    museum: Museum
    """As it was before this style, but for the new slot: the teacher."""
    bank: Bank | None
    """Present if any term needs it."""
    moments: dict[str, InputMoment]
    """By kohya key; empty unless a term needs them."""
    style_means: dict[tuple[int, int], Tensor]
    """Mean latent (C, h, w) of the style's pictures, for each latent size (h, w)."""
    fisher: dict[str, Tensor] = field(default_factory=dict)
    """By parameter of the network; empty unless a term needs it, or where there is no old style."""
    block: int = 0
    """How many rows at the end of each layer that is trained were opened for this style; 0: all are shared."""


@dataclass(frozen=True)
class Step:
    """The tensors of one forward pass of the student."""

    t: Tensor
    """(B,) timesteps of the style's own batch."""
    alpha_bar: Tensor
    """(B,) at those timesteps."""
    prediction_type: str
    """epsilon | v_prediction."""
    pred_x0: Tensor
    """(B, C, h, w) predicted clean latents."""
    replay: ReplayBatch | None = None
    replay_pred: Tensor | None = None
    """(R, C, h, w) the student's prediction for the bank's batch."""
    replay_alpha_bar: Tensor | None = None
    """(R,) at the timesteps of the bank's batch."""
    features: tuple[Tensor, ...] = ()
    """The student's block outputs for the bank's batch."""
    bank_weight: float = 1.0
    """Of penalties on the bank's batch: above 1 where not every step has one."""
    memory_is_short: bool = False
    """Whether to work out again for the gradients what is large, rather than to keep it."""


class Term:
    """One penalty that keeps or shapes what is learned. Every hook does nothing unless a term says otherwise."""

    name: str
    needs: frozenset[str] = frozenset()
    reads = Reads.PICTURES
    """What its penalty is computed from. Unless a term says so itself, the bank's batch if it needs one, else the pass
    over the pictures. Where it is the bank's batch and a step has none, the penalty is None."""
    grows = False
    """Whether each style after the first gets a rank block of its own, `network_dim` wide."""

    def __init_subclass__(cls) -> None:
        if "reads" not in vars(cls) and "needs" in vars(cls):
            cls.reads = Reads.BANK if cls.needs & {REPLAY, NEW_PICTURES, FEATURES} else Reads.PICTURES

    def begin_style(self, start: StyleStart) -> None:
        """Before the first step of a style."""

    def penalty(self, museum: Museum, step: Step) -> Tensor | None:
        """An unweighted scalar, or None where there is nothing to penalise (no old style yet)."""
        return None

    def after_backward(self, museum: Museum) -> None:
        """When all gradients of a step are there, before they are clipped."""

    def after_step(self, museum: Museum) -> None:
        """When the optimizer has moved what it trains."""

    def end_style(self, museum: Museum) -> None:
        """After the last step of a style."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run cannot compute again."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
