"""What an optimizer keeps for each number that it moves."""

from __future__ import annotations

import logging

import pytest
import torch

from museum_plugin.config.schema import OptimizerConfig
from museum_plugin.train.optimizer_memory import optimizer_bytes

PARAMETERS = [torch.empty(16, 320, device="meta"), torch.empty(320, 16, device="meta")] * 3
COUNT = 6 * 16 * 320


@pytest.mark.parametrize(
    ("name", "each"), [("AdamW", 8.0), ("Lion", 4.0), ("SGDNesterov", 4.0), ("AdamW8bit", 2.0), ("Prodigy", 16.0)]
)
def test_bytes_for_each_number(name: str, each: float) -> None:
    found = optimizer_bytes(OptimizerConfig(name=name), PARAMETERS)
    assert found == pytest.approx(each * COUNT, rel=0.1)


def test_adafactor_keeps_rows_and_columns() -> None:
    config = OptimizerConfig(name="Adafactor", arguments={"relative_step": False})
    assert optimizer_bytes(config, PARAMETERS) < 0.7 * COUNT


def test_small_parameters_are_not_worth_eight_bits() -> None:
    small = [torch.empty(4, 320, device="meta")]  # bitsandbytes: below 4096 numbers
    assert optimizer_bytes(OptimizerConfig(name="AdamW8bit"), small) == 8 * 4 * 320


def test_an_optimizer_that_takes_no_step_here_counts_as_adamw(caplog: pytest.LogCaptureFixture) -> None:
    config = OptimizerConfig(name="torch.optim.SparseAdam")
    with caplog.at_level(logging.WARNING, logger="museum"):
        assert optimizer_bytes(config, PARAMETERS) == 8 * COUNT
    assert "SparseAdam" in caplog.text


def test_the_state_of_chance_is_left_alone() -> None:
    before = torch.get_rng_state()
    optimizer_bytes(OptimizerConfig(), PARAMETERS)
    assert torch.get_rng_state().equal(before)
