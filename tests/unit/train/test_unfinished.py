"""Which style goes on from a checkpoint, and from which one of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from museum_plugin.config.schema import OutputConfig
from museum_plugin.errors import ConfigError
from museum_plugin.train.checkpoint import Origin, check_unfinished, require_same
from museum_plugin.train.resume import state_to_go_on_from


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.unfinished.pt"
    torch.save({"identity": {}, "style": "ink", "step": 40}, path)
    return path


def test_the_next_style_goes_on(checkpoint: Path) -> None:
    assert check_unfinished(checkpoint, ["ink", "dots"], ()) == f"ink after step 40, from {checkpoint}"


def test_there_is_nothing_to_go_on_from(checkpoint: Path, tmp_path: Path) -> None:
    assert check_unfinished(tmp_path / "none.pt", ["ink"], ()) is None
    assert check_unfinished(checkpoint, ["dots"], ("ink",)) is None
    assert check_unfinished(checkpoint, [], ()) is None


def test_another_style_must_be_finished_first(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="style 'ink' was not finished"):
        check_unfinished(checkpoint, ["dots", "ink"], ())


def test_a_damaged_file_is_named(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="checkpoint is damaged"):
        check_unfinished(checkpoint, ["ink"], ())


EMPTY = {"network_args": {}, "optimizer_args": {}, "term_weights": {}, "base_weights_multiplier": []}


def origin(**identity: object) -> Origin:
    return Origin("ink", {"seed": 0, **identity}, {})


def state(**identity: object) -> dict[str, Any]:
    return {"identity": identity, "path": Path("mine.unfinished.pt")}


def test_a_flag_that_one_version_does_not_know_counts_as_not_given() -> None:
    require_same(state(seed=0), origin(**EMPTY))
    require_same(state(seed=0, **EMPTY), origin())
    require_same(state(seed=0), origin(prior_loss_weight=1.0, masked_loss=False, no_longer_known=None))
    for name, value in (("network_args", {"conv_dim": 4}), ("masked_loss", True), ("prior_loss_weight", 0)):
        with pytest.raises(ConfigError, match=f"{name} was .*, now {value}".replace("{", ".").replace("}", ".")):
            require_same(state(seed=0), origin(**{name: value}))


def test_a_flag_that_changes_the_pictures_is_named_before_them() -> None:
    before = {"seed": 0, "the pictures": "ab", "train_batch_size": 2}
    with pytest.raises(ConfigError, match="train_batch_size was 2, now 3;"):
        require_same(state(**before), origin(**{**before, "the pictures": "cd", "train_batch_size": 3}))
    words = {"the pictures": "4 of ink"}
    told = Origin("ink", {**before, "the pictures": "cd"}, words)
    with pytest.raises(ConfigError, match=r"the pictures or their captions changed \(both: 4 of ink\);"):
        require_same({**state(**before), "words": words}, told)


@pytest.fixture
def resuming(checkpoint: Path, tmp_path: Path) -> OutputConfig:
    """A run that resumes a state of step 20, beside an unfinished one of step 40."""
    torch.save({"identity": {"seed": 0}, "style": "ink", "step": 20}, tmp_path / "told-state")
    return OutputConfig(tmp_path, "mine", resume=tmp_path / "told-state")


@pytest.mark.parametrize("step", [10, 40])
def test_of_two_states_of_one_run_the_later_one_counts(resuming: OutputConfig, checkpoint: Path, step: int) -> None:
    torch.save({"identity": {"seed": 0, "term_weights": {}}, "style": "ink", "step": step}, checkpoint)
    assert state_to_go_on_from(resuming, checkpoint, origin(), ())["step"] == max(20, step)


def test_an_unfinished_style_of_other_settings_is_not_dropped_silently(
    resuming: OutputConfig, checkpoint: Path
) -> None:
    torch.save({"identity": {"seed": 3}, "style": "ink", "step": 40}, checkpoint)
    with pytest.raises(ConfigError, match="unfinished.pt: .*seed was 3, now 0; .*remove the file to go on from .*told"):
        state_to_go_on_from(resuming, checkpoint, origin(), ())


def test_an_unfinished_style_of_another_name_is_not_dropped_silently(resuming: OutputConfig, checkpoint: Path) -> None:
    torch.save({"identity": {"seed": 0}, "style": "dots", "step": 40}, checkpoint)
    with pytest.raises(ConfigError, match="style 'dots' was not finished"):
        state_to_go_on_from(resuming, checkpoint, origin(), ())
    assert state_to_go_on_from(resuming, checkpoint, origin(), ("dots",))["step"] == 20, "it is taught already"
