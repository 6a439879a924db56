"""Signatures: statistics against hand-made numbers, a distance that is a metric, a score that means something."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from museum_plugin.errors import MuseumFileError
from museum_plugin.judge.signature import Signature, distance, neighbourhoods, signature, style_score


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(mean: list[float], covariance: list[list[float]]) -> Signature:
    return Signature(torch.tensor(mean, dtype=torch.float64), torch.tensor(covariance, dtype=torch.float64))


def random_signature(seed: int, length: int = 6) -> Signature:
    factor = torch.randn(length, length, generator=rng(seed), dtype=torch.float64)
    return Signature(torch.randn(length, generator=rng(seed + 100), dtype=torch.float64), factor @ factor.T)


def latents(count: int = 3, size: tuple[int, int] = (5, 6), seed: int = 0) -> Tensor:
    return torch.randn(count, 4, *size, generator=rng(seed))


def test_neighbourhoods_are_all_overlapping_squares() -> None:
    found = neighbourhoods(torch.arange(9.0).view(1, 3, 3))
    assert found.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]


def test_signature_is_mean_and_covariance_of_the_neighbourhoods() -> None:
    pictures = latents()
    patches = torch.cat([neighbourhoods(p) for p in pictures])
    found = signature(pictures)
    torch.testing.assert_close(found.mean, patches.mean(dim=0))
    torch.testing.assert_close(found.covariance, torch.cov(patches.T, correction=0))
    assert found.mean.shape == (16,)
    assert found.covariance.dtype == torch.float64


def test_a_signature_by_hand() -> None:
    # Two pictures of one neighbourhood each: (0, 0, 0, 0) and (2, 0, 0, 4).
    found = signature([torch.zeros(1, 2, 2), torch.tensor([[[2.0, 0.0], [0.0, 4.0]]])])
    assert found.mean.tolist() == [1, 0, 0, 2]
    assert found.covariance.tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 4]]


def test_every_picture_counts_the_same_whatever_its_size() -> None:
    small, large = torch.zeros(1, 2, 2), torch.ones(1, 9, 12)
    assert signature([small, large]).mean.tolist() == [0.5] * 4


def test_texture_counts_and_place_does_not() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8)
    halves = torch.tensor([1.0] * 4 + [-1.0] * 4).expand(1, 1, 8, 8)
    assert distance(signature(stripes), signature(halves)) > 0.5  # the same values, differently arranged
    picture = latents(1, (8, 8))
    mosaic = torch.cat([picture, picture], dim=3)
    moved = torch.cat([mosaic[..., 3:], mosaic[..., :3]], dim=3)
    assert distance(signature(mosaic), signature(moved)) < 0.2 * distance(signature(mosaic), signature(latents(seed=1)))


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [torch.zeros(4, 1, 5)],
        [torch.zeros(4, 5)],
        [torch.zeros(4, 5, 5), torch.zeros(3, 5, 5)],
        [torch.full((4, 3, 3), math.nan)],
        [torch.full((4, 3, 3), math.inf)],
    ],
)
def test_latents_without_a_signature_are_refused(wrong: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="latents"):
        signature(wrong)


def test_half_precision_latents_do_not_overflow() -> None:
    found = signature(torch.full((1, 4, 3, 3), 300.0, dtype=torch.float16))
    assert found.mean.tolist() == [300.0] * 16
    assert found.covariance.abs().max() == 0


def test_distance_of_independent_directions_by_hand() -> None:
    a = gaussian([0, 0], [[4, 0], [0, 9]])
    b = gaussian([3, 0], [[1, 0], [0, 25]])
    assert distance(a, b) == pytest.approx(math.sqrt(9 + (2 - 1) ** 2 + (3 - 5) ** 2))


def test_distance_of_turned_gaussians_against_the_closed_form() -> None:
    a, b = gaussian([0, 1], [[2, 1], [1, 3]]), gaussian([1, 1], [[5, -2], [-2, 1]])
    # For 2x2: trace of the root of C_a C_b = sqrt(trace(C_a C_b) + 2 sqrt(det C_a det C_b)).
    cross = math.sqrt((2 * 5 + 2 * (1 * -2) + 3 * 1) + 2 * math.sqrt(5 * 1))
    assert distance(a, b) == pytest.approx(math.sqrt(1 + 5 + 6 - 2 * cross))


@pytest.mark.parametrize("seed", range(5))
def test_distance_is_a_metric(seed: int) -> None:
    a, b, c = random_signature(seed), random_signature(seed + 10), random_signature(seed + 20)
    assert distance(a, a) == 0
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12)
    assert 0 < distance(a, c) <= distance(a, b) + distance(b, c)


def test_small_distances_are_not_lost_to_rounding() -> None:
    a = random_signature(0)
    near = Signature(a.mean, a.covariance * (1 + 1e-6) ** 2)
    assert distance(a, near) == pytest.approx(1e-6 * math.sqrt(float(a.covariance.trace())), rel=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e12])
def test_distance_is_never_nan(scale: float) -> None:
    flat = signature(torch.full((2, 4, 3, 3), 0.5))
    other = signature(scale * latents())
    for found in (distance(flat, other), distance(other, flat), distance(other, other)):
        assert math.isfinite(found)
        assert found >= 0


def test_signatures_of_different_vaes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="length 6 and 8"):
        distance(random_signature(0, 6), random_signature(0, 8))


@pytest.mark.parametrize(("place", "expected"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (1.5, 0.5), (-2.0, 0.0)])
def test_score_is_the_part_of_the_way_from_base_to_style(place: float, expected: float) -> None:
    base, style, drawn = (gaussian([x, 0], [[1, 0], [0, 1]]) for x in (0, 8, 8 * place))
    assert style_score(drawn, style, base) == pytest.approx(expected)


def test_score_where_the_base_has_the_style_already() -> None:
    base, other = random_signature(0), random_signature(1)
    assert style_score(base, base, base) == 1
    assert style_score(other, base, base) == 0


def test_a_signature_survives_json() -> None:
    found = signature(latents(seed=3))
    numbers = json.loads(json.dumps(found.to_dict()))
    back = Signature.from_dict(numbers)
    torch.testing.assert_close(back.mean, found.mean.float().double(), rtol=0, atol=0)
    torch.testing.assert_close(back.covariance, found.covariance.float().double(), rtol=0, atol=0)
    assert back.to_dict() == numbers
    assert distance(back, found) < 1e-6


def changed(**parts: object) -> dict[str, object]:
    return {**random_signature(0, 2).to_dict(), **parts}


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"mean": [0.0, 0.0]},
        changed(mean=[0.0]),
        changed(mean="0"),
        changed(mean=0.5),
        changed(mean=[0.0, math.nan]),
        changed(covariance=[[1.0], [0.0]]),
        changed(covariance=[[1.0], [0.0, math.inf]]),
        changed(covariance=None),
    ],
)
def test_a_damaged_signature_is_a_users_error(numbers: dict[str, object]) -> None:
    with pytest.raises(MuseumFileError, match="signature is damaged"):
        Signature.from_dict(numbers)
