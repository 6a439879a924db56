"""How far the shared LoRA's weight update has turned or moved, computed on its low-rank factors alone.

No out x in matrix is ever formed: for D = U V, <U1 V1, U2 V2> = tr((U1^T U2)(V2 V1^T)) costs r^2 (out + in).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from museum_plugin.losses.denoising import in_working_precision, without_autocast


@dataclass(frozen=True, eq=False)
class LowRank:
    """One module's weight update, delta_weight = scale * up @ down.

    Raises:
        ValueError: the factors are not two matrices that can be multiplied.
    """

    up: Tensor
    """(out, rank), or (n, out, rank) of n modules of one shape; a convolution's are flattened by the caller."""
    down: Tensor
    """(rank, in), or (n, rank, in)"""
    scale: float
    """alpha / rank."""

    def __post_init__(self) -> None:
        if self.up.ndim not in (2, 3) or self.down.ndim != self.up.ndim or self.up.shape[-1] != self.down.shape[-2]:
            raise ValueError(
                f"a low-rank update needs up (out, rank) and down (rank, in), "
                f"found {tuple(self.up.shape)} and {tuple(self.down.shape)}"
            )

    def detach(self) -> LowRank:
        """The same update, cut off from the graph."""
        return LowRank(self.up.detach(), self.down.detach(), self.scale)


@dataclass(frozen=True, eq=False)
class SecondMoment:
    """What a module is fed, C = E[x x^T] = F F^T + rest I: its main directions, and the rest spread over all evenly.

    Never formed as (in, in): for the widest layers of SDXL that would be more memory than their weights.

    Raises:
        ValueError: the factor is no matrix, or the rest is negative or not finite.
    """

    factor: Tensor
    """F (in, k), or (n, in, k) of n modules."""
    rest: Tensor
    """() or (n,), >= 0, in the inputs' units squared."""

    def __post_init__(self) -> None:
        if (
            self.factor.ndim not in (2, 3)
            or self.rest.shape != self.factor.shape[:-2]
            or not ((self.rest >= 0) & self.rest.isfinite()).all()
        ):
            raise ValueError(
                f"a second moment needs a factor (in, k) and a rest >= 0, "
                f"found {tuple(self.factor.shape)} and {self.rest}"
            )

    def energy(self, weight: Tensor) -> Tensor:
        """E ||W x||^2 = ||W F||^2 + rest ||W||^2 for weights (..., out, in): () or (n,), in output units squared."""
        return (weight @ self.factor).square().sum((-2, -1)) + self.rest * weight.square().sum((-2, -1))


def inner_product(a: LowRank, b: LowRank) -> Tensor:
    """Frobenius inner product of two updates, <delta_a, delta_b>.

        scale_a scale_b tr((up_a^T up_b)(down_b down_a^T))

    Source: ours (identity of the trace). Symmetric; gradients reach both.

    Args:
        a: update of a module with weight (out, in).
        b: update of the same shape; its rank may differ.
    Returns:
        Scalar; float32, or float64 if an input is.
    Raises:
        ValueError: the updates do not have one shape.
    """
    _require_one_shape(a, b)
    up_a, down_a, up_b, down_b = in_working_precision(a.up, a.down, b.up, b.down)
    with without_autocast(up_a):  # autocast would do the products in half precision
        return ((up_a.T @ up_b) * (down_a @ down_b.T)).sum() * (a.scale * b.scale)


def weight_cosine_penalty(now: Sequence[LowRank], previous: Sequence[LowRank]) -> Tensor:
    """How far the direction of the update has turned since the previous museum.

        mean_m (1 - cos(delta_m, delta_previous_m))

    Source: MuseumMaker, arXiv:2404.16612, weight part of the dual regularization, as we read it. Ours: the mean over
    modules, not the sum, so that a weight means the same for a small and a large model; and a module whose update is
    zero now or was zero before has no direction, so it counts as unturned: 0, with zero gradient.

    Args:
        now: the student's update of each module.
        previous: the previous museum's, same modules in the same order; never receives a gradient.
    Returns:
        Scalar in 0..2 up to rounding; float32, or float64 if an input is.
    Raises:
        ValueError: there are no modules, their numbers differ, or the shapes of a pair differ.
    """
    _require_pairs(now, previous)
    return torch.stack([_one_minus_cosine(a, b.detach()) for a, b in zip(now, previous, strict=True)]).mean()


def input_weighted_change(now: LowRank, previous: LowRank, moment: SecondMoment) -> Tensor:
    """Expected squared change of a module's output, E ||D x||^2, over inputs x with E[x x^T] = C.

        tr(D C D^T) = tr((U^T U)(V C V^T)),  V C V^T = (V F)(V F)^T + rest V V^T
        D = delta_now - delta_previous = U V   (scales within the ups, primes: previous)
        U = [up - up', up'],  V = [down; down - down']

    Source: ours. Of the ways to write D with twice the rank, this one does not subtract large numbers when D is small,
    and is exactly zero for equal factors. Factors of unequal rank are filled up with zeros at the end, where a new
    style's block is added.

    Args:
        now: the student's update of a module with weight (out, in), or of n modules of that shape.
        previous: the previous museum's; its rank may differ; never receives a gradient.
        moment: C of the module's inputs; never receives a gradient.
    Returns:
        () or (n,), >= 0 up to rounding, in output units squared, summed over outputs; float32, or float64 if an input
        is.
    Raises:
        ValueError: shapes do not agree.
    """
    _require_one_shape(now, previous)
    if moment.factor.shape[:-1] != (*now.down.shape[:-2], now.down.shape[-1]):
        raise ValueError(f"moment must be of {now.down.shape[-1]} inputs, found {tuple(moment.factor.shape)}")
    up, down, up_before, down_before, factor = in_working_precision(
        now.up, now.down, previous.up.detach(), previous.down.detach(), moment.factor.detach()
    )
    rank = max(up.shape[-1], up_before.shape[-1])
    up, up_before = (pad(x * s, (0, rank - x.shape[-1])) for x, s in ((up, now.scale), (up_before, previous.scale)))
    down, down_before = (pad(x, (0, 0, 0, rank - x.shape[-2])) for x in (down, down_before))
    left = torch.cat([up - up_before, up_before], -1)
    right = torch.cat([down, down - down_before], -2)
    with without_autocast(left):  # as in inner_product
        seen = right @ factor
        inner = seen @ seen.mT + moment.rest.detach()[..., None, None].to(right) * (right @ right.mT)
        return ((left.mT @ left) * inner).sum((-2, -1))


def feature_lock_penalty(
    now: Sequence[LowRank],
    previous: Sequence[LowRank],
    second_moments: Sequence[SecondMoment],
    reference_energies: Sequence[Tensor],
) -> Tensor:
    """Expected relative change of the modules' outputs on the inputs that old prompts give them.

        mean_m tr(D_m C_m D_m^T) / energy_m

    Source: ours. Relative, so that modules with large and small outputs weigh alike; the mean over modules, so that a
    weight means the same for a small and a large model.

    Args:
        now: the student's update of each module, or of each stack of modules.
        previous: the previous museum's, same modules in the same order; never receives a gradient.
        second_moments: of each module's inputs; never receives a gradient.
        reference_energies: E ||W x||^2 of each frozen module over the same inputs, > 0, output units squared; () or
            (n,).
    Returns:
        Scalar >= 0 up to rounding, without unit; float32, or float64 if an input is.
    Raises:
        ValueError: there are no modules, their numbers differ, or shapes do not agree.
    """
    _require_pairs(now, previous)
    if len(second_moments) != len(now) or len(reference_energies) != len(now):
        raise ValueError(
            f"{len(now)} modules need as many second moments and reference energies, "
            f"found {len(second_moments)} and {len(reference_energies)}"
        )
    parts = zip(now, previous, second_moments, reference_energies, strict=True)
    changes = [(input_weighted_change(a, b, c) / energy.detach()).reshape(-1) for a, b, c, energy in parts]
    return torch.cat(changes).mean()


def _one_minus_cosine(a: LowRank, b: LowRank) -> Tensor:
    square_a, square_b = inner_product(a, a), inner_product(b, b)
    has_direction = (square_a > _rounding_of_square(a)) & (square_b > _rounding_of_square(b))
    # 1 stands in before the root: where() alone would still send an infinite gradient through the root of 0
    norm_a, norm_b = (torch.where(has_direction, square, 1).sqrt() for square in (square_a, square_b))
    turned = 1 - inner_product(a, b) / norm_a / norm_b
    return torch.where(has_direction, turned, 0)


def _rounding_of_square(a: LowRank) -> Tensor:
    """Below this <a, a> is rounding error: the factors are not zero, but their product is."""
    up, down = in_working_precision(a.up.detach(), a.down.detach())
    return torch.finfo(up.dtype).eps * a.scale**2 * up.square().sum() * down.square().sum()


def _require_one_shape(a: LowRank, b: LowRank) -> None:
    shapes = [(*x.up.shape[:-1], x.down.shape[-1]) for x in (a, b)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"two updates must have one shape (out, in), found {shapes[0]} and {shapes[1]}")


def _require_pairs(now: Sequence[LowRank], previous: Sequence[LowRank]) -> None:
    if len(now) != len(previous) or len(now) == 0:
        raise ValueError(f"one update before and one now for each module, found {len(previous)} and {len(now)}")
