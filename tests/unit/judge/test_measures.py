"""The measures that are always there: drift of predictions, shift of statistics, confusion, memorisation."""

from __future__ import annotations

import math

import pytest
import torch

from museum_plugin.base.denoiser import Denoiser
from museum_plugin.base.load import BaseModel
from museum_plugin.judge.confusion import confusion_matrix, recognized
from museum_plugin.judge.memorization import Memorization, memorization, picture_distances
from museum_plugin.judge.prediction_drift import fixed_triples, prediction_drift, prediction_effect
from museum_plugin.judge.signature import distance, signature, statistics_shift


def latents(mean: float, count: int = 4, seed: int = 0) -> torch.Tensor:
    return mean + torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_an_effect_is_the_root_mean_square_of_a_difference() -> None:
    a, b = torch.zeros(1, 1, 2, 2), torch.tensor([[[[3.0, -3.0], [3.0, -3.0]]]])
    assert prediction_effect(a, b) == 3
    assert prediction_effect(b, b) == 0
    with pytest.raises(ValueError, match="cannot be compared"):
        prediction_effect(a, b[..., :1])


@pytest.mark.parametrize(
    ("moved", "effect", "expected"), [(0.5, 2.0, 0.25), (3.0, 2.0, 1.5), (0.0, 0.0, 0.0), (0.1, 0.0, 1.0)]
)
def test_drift_is_measured_by_what_the_style_does(moved: float, effect: float, expected: float) -> None:
    assert prediction_drift(moved, effect) == expected


def test_triples_depend_on_their_own_seeds_and_levels_alone(base: BaseModel) -> None:
    denoiser, clean = Denoiser(base), latents(0, 2)
    found = fixed_triples(denoiser, clean, (3, 4), (0.25, 0.75))
    assert found.noisy.shape == (4, 4, 8, 8)
    assert found.levels == 2
    assert found.t.tolist() == [250, 250, 750, 750]
    again = fixed_triples(denoiser, clean[1:], (4,), (0.25, 0.75))
    assert torch.equal(found.noisy[1::2], again.noisy)
    assert not torch.equal(found.noisy, fixed_triples(denoiser, clean, (3, 5), (0.25, 0.75)).noisy)
    by_hand = denoiser.alpha_bar(torch.tensor([250])).sqrt() * clean[0]
    noise = (found.noisy[0] - by_hand) / (1 - denoiser.alpha_bar(torch.tensor([250]))).sqrt()
    assert noise.std().item() == pytest.approx(1, abs=0.2)


def test_a_shift_is_the_part_of_the_way_from_style_to_base() -> None:
    base, before = signature(latents(0)), signature(latents(4))
    for share in (0.0, 0.25, 1.0):
        now = signature(latents(4 - 4 * share))
        assert statistics_shift(now, before, base) == pytest.approx(share, abs=1e-6)
    assert statistics_shift(base, base, base) == 0
    assert statistics_shift(before, base, base) == 1
    assert distance(base, before) == pytest.approx(4 * math.sqrt(16), rel=1e-6)


def test_each_picture_is_judged_as_the_nearest_style() -> None:
    styles = {"ink": signature(latents(3, seed=1)), "dots": signature(latents(-3, seed=2))}
    drawn = {"ink": torch.cat([latents(3, 3, seed=3), latents(-3, 1, seed=4)]), "dots": latents(-3, 2, seed=5)}
    found = confusion_matrix(drawn, styles)
    assert found == {"ink": {"ink": 0.75, "dots": 0.25}, "dots": {"ink": 0.0, "dots": 1.0}}
    assert recognized(found) == 0.875
    with pytest.raises(ValueError, match="no signature"):
        confusion_matrix(drawn, {})
    with pytest.raises(ValueError, match="no picture"):
        confusion_matrix({"ink": latents(0, 0)}, styles)


def test_distances_of_pictures_are_root_mean_squares() -> None:
    pictures = torch.tensor([0.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert picture_distances(pictures, torch.full((1, 1, 2, 2), 1.0)).tolist() == [[1.0], [2.0]]
    with pytest.raises(ValueError, match="cannot be compared"):
        picture_distances(pictures, torch.zeros(1, 1, 2, 4))


def test_memorization_counts_in_steps_from_one_training_picture_to_the_next() -> None:
    training = torch.tensor([0.0, 4.0, 8.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    drawn = torch.tensor([8.0, 1.0, 14.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    found = memorization(drawn, training)
    assert found == Memorization(ratios=(0.0, 0.25, 1.5), nearest=(2, 0, 2), spacing=4.0)
    assert found.copies == 2
    assert found.median == 0.25


def test_a_picture_that_is_there_twice_makes_no_copy_of_everything() -> None:
    training = torch.tensor([0.0, 0.0, 4.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert memorization(training[:1], training).spacing == 4
    with pytest.raises(ValueError, match="two are needed"):
        memorization(training[:1], training[:2])
    with pytest.raises(ValueError, match="two are needed"):
        memorization(training[:1], training[:1])
    with pytest.raises(ValueError, match="no picture"):
        memorization(training[:0], training)
