"""A user's mistake is a ConfigError of one line: where, what was found, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.errors import ConfigError

pytestmark = pytest.mark.usefixtures("run_folder")

DATA = ["--dataset_config", "ukiyoe.toml"]


def refusal(*argv: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse_command_line(argv)
    return str(error.value)


def file_refusal(text: str) -> str:
    Path("run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        parse_command_line([*DATA, "--config_file", "run.toml"])
    return str(error.value)


NO_PICTURES = "no pictures to learn from: give --dataset_config (a .toml or .json file) or --train_data_dir"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], NO_PICTURES),
        (["--learnig_rate", "1"], '--learnig_rate: unknown; did you mean "learning_rate"?'),
        (["--network-dim=3"], '--network-dim: unknown; did you mean "network_dim"?'),
        (["--sed", "1"], '--sed: unknown; did you mean "seed"?'),
        (["stray"], "command line: found 'stray', allowed: flags, which begin with --"),
        (["--seed"], "command line: --seed: expected one argument"),
        (["--seed", "soon"], "--seed: found 'soon', allowed: a whole number"),
        (["--network_dim", "0", *DATA], "--network_dim: found 0, must be 1 or more"),
        (["--learning_rate", "-1", *DATA], "--learning_rate: found -1.0, must be 0 or more"),
        (["--text_encoder_lr", "-1", *DATA], "--text_encoder_lr: found -1.0, must be 0 or more"),
        (["--use_8bit_adam", "--optimizer_type", "SGD", *DATA],
         "--use_8bit_adam: cannot go with optimizer_type; keep one of them"),
        (["--use_8bit_adam", "--use_lion_optimizer", *DATA],
         "--use_8bit_adam: cannot go with use_lion_optimizer; keep one of them"),
        (["--lr_scheduler", "cosine_with_min_lr", *DATA], "--lr_scheduler: found 'cosine_with_min_lr', which needs "
         "lr_scheduler_min_lr_ratio (0.1 is usual)"),
        (["--dim_from_weights", *DATA], "--dim_from_weights: needs network_weights, a LoRA file"),
        (["--dim_from_weights", "--network_weights", "a", "--network_args", "conv_dim=4", *DATA],
         "--dim_from_weights: cannot go with network_args that change ranks: they are those of network_weights"),
        (["--base_weights_multiplier", "1", *DATA], "--base_weights_multiplier: found 1 numbers for 0 base_weights"),
        (["--scale_weight_norms", "-1", *DATA], "--scale_weight_norms: found -1.0, must be greater than 0"),
        (["--network_dropout", "1", *DATA], "--network_dropout: found 1.0, must be 0 or more and below 1"),
        (["--vae_batch_size", "-1", *DATA], "--vae_batch_size: found '-1', allowed: a whole number, 0 for off"),
        (["--mixed_precision", "fp8", *DATA], "--mixed_precision: found 'fp8', allowed: no, fp16, bf16"),
        (["--loss_type", "l3", *DATA], "--loss_type: found 'l3', allowed: l2, l1, huber, smooth_l1"),
        (["--huber_schedule", "snrs", *DATA], "--huber_schedule: found 'snrs', allowed: snr, exponential, constant; "
         'did you mean "snr"?'),
        (["--adaptive_noise_scale", "0.1", *DATA], "--adaptive_noise_scale: found 0.1, which needs noise_offset; give "
         "both or none"),
        (["--ip_noise_gamma", "2", *DATA], "--ip_noise_gamma: found 2.0, must lie between 0 and 1"),
        (["--min_timestep", "500", "--max_timestep", "500", *DATA], "--min_timestep: found 500, must be less than "
         "max_timestep (500)"),
        (["--log_with", "all", *DATA], "--log_with: found 'all', which needs --logging_dir"),
        (["--config_file", "gone"], '--config_file: no file "gone.toml"'),
        (["--config_file", "a.json"], '--config_file: found "a.json", allowed: a TOML file'),
        (["--dataset_config", "gone.toml"], '--dataset_config: no file "gone.toml"'),
        (["--unet_lr", "0", *DATA], "nothing to train: both U-Net and text encoder are off"),
        (["--network_train_text_encoder_only", *DATA], "--network_train_text_encoder_only: needs text_encoder_lr "
         "greater than 0"),
        (["--network_train_text_encoder_only", "--network_train_unet_only", *DATA],
         "--network_train_text_encoder_only: cannot go with network_train_unet_only; keep one of them"),
        (["--dataset_config", "two.toml"], "two.toml: several styles need --museum (found: ink, dots); give it, or one "
         "--style"),
        (["--dataset_config", "two.toml", "--museum", "m", "--style", "dotz"], "--style: found 'dotz', allowed by "
         "two.toml: ink, dots"),
        (["--dataset_config", "two.toml", "--museum", "m", "--trigger", "bsgo"], "--trigger: found 'bsgo' for 2 "
         "styles; write trigger beside each style in the dataset file, or pick one with --style"),
        (["--dataset_config", "one.toml", "--museum", "m", "--trigger", "bsgo"], "--trigger: found 'bsgo', but "
         "one.toml says 'nlwx'; keep one of them"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_named_exactly(argv: list[str], message: str) -> None:
    assert refusal(*argv) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnig_rate = 1", 'run.toml: learnig_rate: unknown; did you mean "learning_rate"?'),
        ("seed = [1]", "run.toml: seed: found [1], allowed: a whole number"),
        ("[a]\nnetwork_dim = 0", "run.toml: network_dim: found 0, must be 1 or more"),
        ("[a.seed]\nx = 1", "run.toml: seed: found {'x': 1}, allowed: a whole number"),
        ("config_file = 'b.toml'", "run.toml: config_file: a config file names no other; give --config_file twice"),
        ("sample_prompts = ['a', 3]", "run.toml: sample_prompts: found ['a', 3], allowed: a text file, or a list of "
         "prompts"),
        ("[[datasets]]\n", "run.toml: datasets: this is a dataset file; give it with --dataset_config"),
        ("lr_scheduler = 'cosin'", "run.toml: lr_scheduler: found 'cosin', allowed: linear, cosine, "
         "cosine_with_restarts, polynomial, constant, constant_with_warmup, inverse_sqrt, reduce_lr_on_plateau, "
         'cosine_with_min_lr, warmup_stable_decay, piecewise_constant, adafactor; did you mean "cosine"?'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_config_file_is_named_exactly(text: str, message: str) -> None:
    assert file_refusal(text) == message
