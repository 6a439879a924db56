"""The recipe of the pocket model: its parts learn what they should."""

from __future__ import annotations

import pytest
import torch

from museum_plugin.pocket.classifier import Classifier, accuracy, draw_exam
from museum_plugin.pocket.train_unet import learning_rate_at
from museum_plugin.pocket.train_vae import color_loss, reconstruction_loss


@pytest.mark.parametrize("loss", [color_loss, reconstruction_loss])
def test_losses_are_zero_for_equal_pictures_and_pull_toward_the_picture(loss) -> None:  # noqa: ANN001
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert loss(images, images).item() == 0
    other = (images * 0.5).requires_grad_()
    loss(other, images).backward()
    assert loss(other - 0.1 * other.grad, images) < loss(other, images)


def test_hue_weighs_more_than_light() -> None:
    images = torch.zeros(1, 3, 16, 16)
    grey, hue = images + 0.1, images + torch.tensor([0.1, -0.1, 0.0]).view(1, 3, 1, 1)
    assert color_loss(hue, images) > 4 * color_loss(grey, images)


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    rates = [learning_rate_at(step, 4000, 1.0) for step in range(4001)]
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[500] == rates[2900] == 1.0
    assert rates[3500] == pytest.approx(0.5)
    assert rates[4000] == 0


def test_an_exam_marks_an_untrained_classifier_low() -> None:
    exam = draw_exam(30, seed=0)
    assert exam.images.shape == (30, 3, 128, 128)
    assert accuracy(Classifier().eval(), exam)["object"] < 0.5
