"""Noise with an offset, with coarse parts, with more of it on the input than in the target."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from museum_plugin.losses.noise import (
    adaptive_offset,
    multires_noise,
    offset_noise,
    perturbed_noise,
    random_strength,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_offset_noise_adds_one_shift_to_each_channel() -> None:
    noise = torch.randn(2, 3, 4, 5, generator=rng())
    expected = noise + 0.1 * torch.randn(2, 3, 1, 1, generator=rng(7))
    torch.testing.assert_close(offset_noise(noise, 0.1, rng(7)), expected)
    assert not torch.allclose(offset_noise(noise, 0.1, rng(8)), expected)
    assert torch.equal(offset_noise(noise, 0.0, rng(7)), noise)


def test_offset_noise_shifts_by_its_standard_deviation() -> None:
    shifts = offset_noise(torch.zeros(64, 64, 1, 1), 0.3, rng())
    assert shifts.std().item() == pytest.approx(0.3, rel=0.05)
    assert shifts.mean().item() == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_offset_noise_keeps_the_dtype_and_draws_alike_in_each(dtype) -> None:
    noise = torch.randn(2, 3, 4, 5, generator=rng()).to(dtype)
    shifted = offset_noise(noise, 0.1, rng(7))
    assert shifted.dtype == dtype
    wide = torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(shifted, offset_noise(noise.to(wide), 0.1, rng(7)).to(dtype), rtol=0, atol=0)
    torch.testing.assert_close(shifted.float(), offset_noise(noise.float(), 0.1, rng(7)), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("shape", "offset"), [((2, 3), 0.1), ((2, 3, 4, 5), math.inf), ((2, 3, 4, 5), math.nan)])
def test_offset_noise_refuses_bad_arguments(shape, offset) -> None:
    with pytest.raises(ValueError, match=r"noise must be|offset must be"):
        offset_noise(torch.zeros(shape), offset, rng())


def test_offset_noise_takes_an_offset_for_each_channel() -> None:
    noise, offset = torch.randn(2, 3, 4, 5, generator=rng()), torch.arange(6.0).view(2, 3, 1, 1)
    shift = torch.randn(2, 3, 1, 1, generator=rng(7))
    torch.testing.assert_close(offset_noise(noise, offset, rng(7)), noise + offset * shift)
    with pytest.raises(ValueError, match=r"offset must be \(B, C, 1, 1\)"):
        offset_noise(noise, offset[:1], rng())
    with pytest.raises(ValueError, match="finite"):
        offset_noise(noise, offset / 0, rng())


def test_random_strength_spreads_evenly_up_to_its_maximum() -> None:
    generator = rng()
    drawn = torch.tensor([random_strength(0.4, generator) for _ in range(2000)])
    assert 0 <= drawn.min() < 0.005
    assert 0.395 < drawn.max() <= 0.4
    assert drawn.mean().item() == pytest.approx(0.2, rel=0.05)
    assert random_strength(0.4, rng(3)) == 0.4 * torch.rand(1, generator=rng(3)).item()
    with pytest.raises(ValueError, match="finite"):
        random_strength(math.nan, rng())


def test_adaptive_offset_at_hand_computed_points() -> None:
    latents = torch.tensor([[[[1.0, 3.0]], [[-1.0, -5.0]]]])  # channel means 2 and -3
    assert adaptive_offset(latents, 0.5, 0.1).flatten().tolist() == pytest.approx([0.7, 0.8])
    assert adaptive_offset(latents, 0.5, -0.2).flatten().tolist() == pytest.approx([0.1, 0.0])
    assert adaptive_offset(latents, 0.5, 0.1).shape == (1, 2, 1, 1)
    assert adaptive_offset(latents.half(), 0.5, 0.1).dtype == torch.float32
    assert adaptive_offset(latents.double(), 0.5, 0.1).dtype == torch.float64


@pytest.mark.parametrize(
    ("shape", "offset", "scale"), [((2, 3), 0.1, 0.1), ((1, 1, 2, 2), math.inf, 0.1), ((1, 1, 2, 2), 0.1, math.nan)]
)
def test_adaptive_offset_refuses_bad_arguments(shape, offset: float, scale: float) -> None:
    with pytest.raises(ValueError, match=r"latents must be|must be finite"):
        adaptive_offset(torch.zeros(shape), offset, scale)


def bilinear(row: list[float], size: int) -> list[float]:
    """Half-pixel centers, edges held: written out by hand."""
    found = []
    for i in range(size):
        place = max((i + 0.5) * len(row) / size - 0.5, 0.0)
        left = min(int(place), len(row) - 1)
        right, share = min(left + 1, len(row) - 1), place - left
        found.append(row[left] * (1 - share) + row[right] * share)
    return found


def upscaled(picture: list[list[float]], height: int, width: int) -> list[list[float]]:
    wide = [bilinear(row, width) for row in picture]
    columns = [bilinear([row[x] for row in wide], height) for x in range(width)]
    return [[columns[x][y] for x in range(width)] for y in range(height)]


def multires_by_hand(noise: Tensor, iterations: int, discount: float, generator: torch.Generator) -> Tensor:
    total = noise.double()
    _, _, height, width = noise.shape
    for i in range(iterations):
        ratio = (2 + 2 * torch.rand((), generator=generator).item()) ** i
        size = max(1, math.floor(height / ratio)), max(1, math.floor(width / ratio))
        part = torch.randn(*noise.shape[:2], *size, generator=generator).double()
        coarse = [[upscaled(channel.tolist(), height, width) for channel in sample] for sample in part]
        total = total + discount**i * torch.tensor(coarse, dtype=torch.float64)
        if min(size) == 1:
            break
    deviation = ((total - total.mean()).square().sum() / (total.numel() - 1)).sqrt()
    return total / deviation


@pytest.mark.parametrize(("iterations", "discount"), [(1, 0.3), (2, 0.3), (6, 0.3), (6, 0.8), (3, 0.0)])
def test_multires_noise_agrees_with_float64_written_out(iterations: int, discount: float) -> None:
    noise = torch.randn(2, 3, 12, 9, generator=rng())
    expected = multires_by_hand(noise, iterations, discount, rng(7))
    torch.testing.assert_close(multires_noise(noise.double(), iterations, discount, rng(7)), expected)
    torch.testing.assert_close(multires_noise(noise, iterations, discount, rng(7)), expected.float())
    assert torch.equal(
        multires_noise(noise, iterations, discount, rng(7)), multires_noise(noise, iterations, discount, rng(7))
    )
    assert not torch.allclose(multires_noise(noise, iterations, discount, rng(8)).double(), expected)


def test_multires_noise_stops_at_one_position() -> None:
    noise = torch.randn(1, 2, 8, 8, generator=rng())
    assert torch.equal(multires_noise(noise, 4, 0.9, rng(7)), multires_noise(noise, 400, 0.9, rng(7)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_multires_noise_has_unit_deviation_and_coarse_parts(dtype) -> None:
    noise = torch.randn(4, 4, 32, 32, generator=rng()).to(dtype)
    found = multires_noise(noise, 8, 0.8, rng(1))
    assert found.dtype == dtype
    assert found.double().std().item() == pytest.approx(1.0, abs=1e-2)
    plain, coarse = (n.double().mean(dim=(2, 3)).std().item() for n in (noise, found))
    assert coarse > 3 * plain, "the mean of a channel moves more than that of plain noise"


@pytest.mark.parametrize(
    ("shape", "iterations", "discount"),
    [((2, 3), 1, 0.3), ((1, 1, 1, 1), 1, 0.3), ((1, 2, 4, 4), 0, 0.3), ((1, 2, 4, 4), 1, 1.5), ((1, 2, 4, 4), 1, -1)],
)
def test_multires_noise_refuses_bad_arguments(shape, iterations: int, discount: float) -> None:
    with pytest.raises(ValueError, match="must"):
        multires_noise(torch.zeros(shape), iterations, discount, rng())


def test_perturbed_noise_adds_a_share_of_other_noise() -> None:
    noise = torch.randn(2, 3, 4, 5, generator=rng())
    extra = torch.randn(2, 3, 4, 5, generator=rng(7))
    torch.testing.assert_close(perturbed_noise(noise, 0.1, rng(7)), noise + 0.1 * extra)
    torch.testing.assert_close(perturbed_noise(noise, 0.5, rng(7)), noise + 0.5 * extra)
    assert perturbed_noise(noise.half(), 0.1, rng(7)).dtype == torch.float16
    with pytest.raises(ValueError, match="noise must be"):
        perturbed_noise(noise[0], 0.1, rng())
    with pytest.raises(ValueError, match="finite"):
        perturbed_noise(noise, math.inf, rng())
