"""What the typed noise and loss options refuse at birth, and what they say about themselves."""

from __future__ import annotations

from typing import Any

import pytest

from museum_plugin.config.schema import LossConfig
from museum_plugin.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"adaptive_noise_scale": 0.1}, "adaptive_noise_scale: found 0.1, which needs noise_offset"),
        ({"multires_noise_iterations": 0}, "multires_noise_iterations: found 0"),
        ({"multires_noise_iterations": 6, "multires_noise_discount": 1.5}, "multires_noise_discount: found 1.5"),
        ({"multires_noise_iterations": 6, "multires_noise_discount": -0.1}, "multires_noise_discount: found -0.1"),
        ({"ip_noise_gamma": -0.1}, "ip_noise_gamma: found -0.1"),
        ({"ip_noise_gamma": 1.1}, "ip_noise_gamma: found 1.1"),
        ({"min_timestep": -1}, "min_timestep: found -1"),
        ({"max_timestep": 0}, "max_timestep: found 0"),
        ({"min_timestep": 500, "max_timestep": 500}, "min_timestep: found 500, must be less than max_timestep"),
        ({"loss_type": "l3"}, "loss_type: found 'l3', allowed: l2, l1, huber, smooth_l1"),
        ({"huber_schedule": "x"}, "huber_schedule: found 'x', allowed: snr, exponential, constant"),
        ({"loss_type": "huber", "huber_c": 0.0}, "huber_c: found 0.0"),
        ({"loss_type": "smooth_l1", "huber_scale": -1.0}, "huber_scale: found -1.0"),
        ({"min_snr_gamma": -1.0}, "min_snr_gamma: found -1.0"),
        ({"v_pred_like_loss": -1.0}, "v_pred_like_loss: found -1.0"),
        ({"v_pred_like_loss": 1.0, "zero_terminal_snr": True}, "v_pred_like_loss: cannot go with zero_terminal_snr"),
        (
            {"v_pred_like_loss": 1.0, "scale_v_pred_loss_like_noise_pred": True},
            "v_pred_like_loss: cannot go with scale_v_pred_loss_like_noise_pred",
        ),
    ],
)
def test_what_is_impossible_is_refused_and_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossConfig(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"noise_offset": 0.1, "multires_noise_iterations": 6},
        {"noise_offset": 0.1, "adaptive_noise_scale": -0.5},
        {"min_timestep": 0, "max_timestep": 1000},
        {"multires_noise_discount": 7.0},
        {"huber_c": 0.0},
    ],
)
def test_what_sd_scripts_trains_with_passes(given: dict[str, Any]) -> None:
    LossConfig(**given)


def test_options_tell_which_base_they_are_for() -> None:
    assert (LossConfig().for_v_prediction, LossConfig().for_epsilon) == ((), ())
    both = LossConfig(zero_terminal_snr=True, scale_v_pred_loss_like_noise_pred=True)
    assert both.for_v_prediction == ("zero_terminal_snr", "scale_v_pred_loss_like_noise_pred")
    assert LossConfig(v_pred_like_loss=0.1).for_epsilon == ("v_pred_like_loss",)


def test_options_that_change_nothing_alone_are_told() -> None:
    alone = LossConfig(noise_offset_random_strength=True, ip_noise_gamma_random_strength=True)
    assert alone.idle == (
        ("noise_offset_random_strength", "noise_offset"),
        ("ip_noise_gamma_random_strength", "ip_noise_gamma"),
    )
    used = LossConfig(
        noise_offset=0.1,
        noise_offset_random_strength=True,
        ip_noise_gamma=0.1,
        ip_noise_gamma_random_strength=True,
    )
    assert used.idle == ()
