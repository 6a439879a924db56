"""`network_args` become one typed NetworkArguments; a mistake names the place and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from museum_plugin.config.arguments import describe, parse_command_line
from museum_plugin.config.network_arguments import to_network_arguments
from museum_plugin.config.schema import NetworkArguments
from museum_plugin.errors import ConfigError

DIMS = ",".join(["4"] * 25)


def read(*pairs: str) -> NetworkArguments:
    return to_network_arguments(list(pairs), "--network_args")


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("conv_dim=4", 4),
        ("conv_dim=0", None),
        ("rank_dropout=0.1", 0.1),
        ("module_dropout=.2", 0.2),
        (f"block_dims={DIMS}", (4,) * 25),
        ("down_lr_weight=sine+.25", "sine+.25"),
        ("down_lr_weight=0,0.5,,1", (0.0, 0.5, 0.0, 1.0)),
        ("up_lr_weight=1", (1.0,)),
        ("mid_lr_weight=0.5", (0.5,)),
        ("block_lr_zero_threshold=0.1", 0.1),
        ("loraplus_lr_ratio=16", 16.0),
        ("loraplus_unet_lr_ratio=4", 4.0),
        ("loraplus_text_encoder_lr_ratio=8", 8.0),
    ],
)
def test_every_argument_is_typed(pair: str, value: object) -> None:
    assert getattr(read(pair), pair.partition("=")[0]) == value


def test_what_needs_another_argument_is_typed_with_it() -> None:
    given = read("conv_dim=4", "conv_alpha=1", f"block_dims={DIMS}", f"block_alphas={DIMS}", f"conv_block_dims={DIMS}")

    assert (given.conv_alpha, given.block_alphas, given.conv_block_dims) == (1.0, (4.0,) * 25, (4,) * 25)
    assert read("conv_dim=0", "conv_alpha=1") == NetworkArguments()
    assert read("conv_dim=4", "conv_alpha=0").conv_alpha == 4.0, "sd-scripts: an alpha of 0 is the rank"


def test_a_table_says_the_same() -> None:
    table = {"conv_dim": 4, "block_dims": [4] * 25, "down_lr_weight": "cosine", "rank_dropout": "0.1"}

    assert to_network_arguments(table, "run.toml: network_args") == read(
        "conv_dim=4", f"block_dims={DIMS}", "down_lr_weight=cosine", "rank_dropout=0.1"
    )


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["conv_dims=4"], "--network_args: found 'conv_dims', allowed: conv_dim, .*did you mean \"conv_dim\""),
        (["dropout=0.1"], "give it as network_dropout"),
        (["conv_dim"], "allowed: name=value pairs or a table"),
        (["conv_dim=a"], "conv_dim: found 'a', allowed: a whole number"),
        (["conv_dim=-1"], "conv_dim: found -1, must be greater than 0"),
        (["conv_alpha=1"], "conv_alpha: found 1.0, which needs conv_dim"),
        (["rank_dropout=1"], "rank_dropout: found 1.0, must be 0 or more and below 1"),
        (["module_dropout=-0.1"], "module_dropout: found -0.1"),
        (["block_dims=1,2,3"], "block_dims: found 3 numbers, must be 25 or 23"),
        ([f"block_dims=-{DIMS}"], "must be 0 or more"),
        ([f"block_alphas={DIMS}"], "block_alphas: needs block_dims"),
        ([f"conv_block_dims={DIMS}"], "conv_block_dims: needs block_dims"),
        ([f"block_dims={DIMS}", f"conv_block_alphas={DIMS}"], "conv_block_alphas: needs conv_block_dims"),
        (["down_lr_weight=sign"], "down_lr_weight: found 'sign', allowed: up to 12 numbers, sine"),
        (["up_lr_weight=sine+x"], "such as sine"),
        ([f"up_lr_weight={DIMS}"], "up_lr_weight: found 25 numbers, allowed: 1 to 12"),
        (["mid_lr_weight=-1"], "must be 0 or more"),
        (["block_lr_zero_threshold=-1"], "must be 0 or more"),
        (["loraplus_lr_ratio=0"], "loraplus_lr_ratio: found 0.0, must be greater than 0"),
    ],
)
def test_a_mistake_is_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(*pairs)


@pytest.mark.usefixtures("run_folder")
def test_what_is_described_reads_back_the_same() -> None:
    words = ["--dataset_config", "ukiyoe.toml"]
    config = parse_command_line([*words, "--network_args", "conv_dim=4", "down_lr_weight=0,1", "up_lr_weight=sine"])

    described = json.loads(json.dumps(describe(config)))["network_args"]

    assert described == {"conv_dim": 4, "down_lr_weight": [0.0, 1.0], "up_lr_weight": "sine"}
    Path("run.toml").write_text(
        '[network_args]\nconv_dim = 4\ndown_lr_weight = [0.0, 1.0]\nup_lr_weight = "sine"\n', encoding="utf-8"
    )
    assert parse_command_line([*words, "--config_file", "run.toml"]) == config


def test_lora_plus_has_a_ratio_for_each_part() -> None:
    given = NetworkArguments(loraplus_lr_ratio=4.0, loraplus_unet_lr_ratio=8.0)

    assert (given.loraplus_ratio("unet"), given.loraplus_ratio("text_encoder")) == (8.0, 4.0)
    assert NetworkArguments().loraplus_ratio("unet") == 1.0
