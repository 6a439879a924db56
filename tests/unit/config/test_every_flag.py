"""Every flag of the command line reaches the field that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from museum_plugin.config.arguments import parse_command_line
from museum_plugin.config.schema import NetworkArguments

pytestmark = pytest.mark.usefixtures("run_folder")

EVERY_FLAG: list[tuple[list[str], str, object]] = [
    (["--pretrained_model_name_or_path", "base"], "base.path", Path("base")),
    (["--v2"], "base.v2", True),
    (["--v_parameterization", "false"], "base.v_parameterization", False),
    (["--vae", "vae.pt"], "base.vae", Path("vae.pt")),
    (["--tokenizer_cache_dir", "words"], "base.tokenizer_cache_dir", Path("words")),
    (["--mixed_precision", "bf16"], "base.mixed_precision", "bf16"),
    (["--gradient_checkpointing"], "base.gradient_checkpointing", True),
    (["--clip_skip", "2"], "base.clip_skip", 2),
    (["--max_token_length", "150"], "base.max_token_length", 150),
    (["--weighted_captions"], "base.weighted_captions", True),
    (["--network_dim", "4", "--network_alpha", "2"], "network.alpha", 2.0),
    (["--network_dim", "4"], "network.alpha", 4.0),
    (["--network_dim", "4"], "network.rank", 4),
    (["--network_dropout", "0.1"], "network.dropout", 0.1),
    (["--network_weights", "a.safetensors"], "network.weights", Path("a.safetensors")),
    (["--network_weights", "a.safetensors", "--dim_from_weights"], "network.dim_from_weights", True),
    (["--base_weights", "a.pt", "b.pt"], "network.base_weights", (Path("a.pt"), Path("b.pt"))),
    (["--base_weights", "a.pt", "--base_weights_multiplier", "0.5"], "network.base_weights_multiplier", (0.5,)),
    (["--scale_weight_norms", "1"], "network.scale_weight_norms", 1.0),
    (["--scale_weight_norms", "0"], "network.scale_weight_norms", None),
    (["--network_args", "conv_dim=4"], "network.arguments", NetworkArguments(conv_dim=4)),
    (["--optimizer_type", "Lion"], "optimizer.name", "Lion"),
    (["--optimizer_args", "betas=0.9,0.99", "eps=1e-6"], "optimizer.arguments", {"betas": (0.9, 0.99), "eps": 1e-6}),
    (["--learning_rate", "2e-4"], "optimizer.unet_learning_rate", 2e-4),
    (["--unet_lr", "3e-4", "--learning_rate", "2e-4"], "optimizer.unet_learning_rate", 3e-4),
    (["--text_encoder_lr", "1e-5"], "optimizer.text_encoder_learning_rate", 1e-5),
    (["--lr_scheduler", "constant"], "optimizer.schedule", "constant"),
    (["--text_encoder_lr", "1e-5", "2e-5"], "optimizer.text_encoder_learning_rate", (1e-5, 2e-5)),
    (["--use_8bit_adam"], "optimizer.name", "AdamW8bit"),
    (["--use_lion_optimizer"], "optimizer.name", "Lion"),
    (["--use_8bit_adam", "false", "--optimizer_type", "SGD"], "optimizer.name", "SGD"),
    (["--lr_scheduler", "Adafactor:1e-4"], "optimizer.schedule", "adafactor:1e-4"),
    (["--lr_scheduler_type", "StepLR"], "optimizer.schedule_class", "StepLR"),
    (["--lr_scheduler_args", "gamma=0.5"], "optimizer.schedule_arguments", {"gamma": 0.5}),
    (["--lr_scheduler_num_cycles", "2"], "optimizer.schedule_cycles", 2),
    (["--lr_scheduler_power", "0.5"], "optimizer.schedule_power", 0.5),
    (["--lr_scheduler_timescale", "7"], "optimizer.schedule_timescale", 7),
    (["--lr_scheduler_min_lr_ratio", "0.1"], "optimizer.schedule_min_ratio", 0.1),
    (["--lr_decay_steps", "20%", "--max_train_steps", "500"], "optimizer.decay_steps", 100),
    (["--lr_warmup_steps", "100"], "optimizer.warmup_steps", 100),
    (["--lr_warmup_steps", "10%", "--max_train_steps", "500"], "optimizer.warmup_steps", 50),
    (["--max_grad_norm", "0"], "optimizer.max_grad_norm", 0.0),
    (["--min_snr_gamma", "5"], "loss.min_snr_gamma", 5.0),
    (["--scale_v_pred_loss_like_noise_pred"], "loss.scale_v_pred_loss_like_noise_pred", True),
    (["--v_pred_like_loss", "0.5"], "loss.v_pred_like_loss", 0.5),
    (["--debiased_estimation_loss"], "loss.debiased_estimation_loss", True),
    (["--loss_type", "smooth_l1"], "loss.loss_type", "smooth_l1"),
    (["--huber_schedule", "constant"], "loss.huber_schedule", "constant"),
    (["--huber_c", "0.2"], "loss.huber_c", 0.2),
    (["--huber_scale", "2"], "loss.huber_scale", 2.0),
    (["--noise_offset", "0.05"], "loss.noise_offset", 0.05),
    (["--noise_offset", "0.05", "--noise_offset_random_strength"], "loss.noise_offset_random_strength", True),
    (["--noise_offset", "0.05", "--adaptive_noise_scale", "-0.01"], "loss.adaptive_noise_scale", -0.01),
    (["--adaptive_noise_scale", "0"], "loss.adaptive_noise_scale", None),
    (["--multires_noise_iterations", "6"], "loss.multires_noise_iterations", 6),
    (["--multires_noise_iterations", "0"], "loss.multires_noise_iterations", None),
    (["--multires_noise_discount", "0.8"], "loss.multires_noise_discount", 0.8),
    (["--ip_noise_gamma", "0.1"], "loss.ip_noise_gamma", 0.1),
    (["--ip_noise_gamma", "0.1", "--ip_noise_gamma_random_strength"], "loss.ip_noise_gamma_random_strength", True),
    (["--min_timestep", "100"], "loss.min_timestep", 100),
    (["--max_timestep", "900"], "loss.max_timestep", 900),
    (["--zero_terminal_snr"], "loss.zero_terminal_snr", True),
    (["--prior_loss_weight", "0.5"], "loss.prior_loss_weight", 0.5),
    (["--max_train_steps", "7"], "training.steps", 7),
    (["--gradient_accumulation_steps", "2"], "training.gradient_accumulation_steps", 2),
    (["--seed", "42"], "training.seed", 42),
    (["--cache_latents"], "training.cache_latents", True),
    (["--cache_latents_to_disk"], "training.cache_latents_to_disk", True),
    (["--vae_batch_size", "3"], "training.vae_batch_size", 3),
    (["--vae_batch_size", "0"], "training.vae_batch_size", 1),
    (["--sample_every_n_steps", "50"], "preview.every_n_steps", 50),
    (["--output_dir", "out"], "output.output_dir", Path("out")),
    (["--output_name", "mine"], "output.output_name", "mine"),
    (["--museum", "a/mine.safetensors"], "output.museum", Path("a/mine.safetensors")),
    (["--museum", "a/mine.safetensors"], "output.output_name", "mine"),
    (["--keep_history", "2"], "output.keep_history", 2),
    (["--export_for", "none"], "output.export_for", ()),
    (["--export_for", "webui", "forge"], "output.export_for", ("webui", "forge")),
    (["--export_for", "forge,Forge"], "output.export_for", ("forge",)),
    (
        ["--export_for", "all"],
        "output.export_for",
        ("webui", "comfyui", "a1111", "sdnext", "forge", "invoke", "diffusers"),
    ),
    (["--save_every_n_steps", "9"], "output.save_every_n_steps", 9),
    (["--logging_dir", "logs"], "output.logging_dir", Path("logs")),
    (["--logging_dir", "logs", "--log_with", "all"], "output.log_with", "all"),
    (["--slot_vectors", "2"], "slot.vectors", 2),
    (["--slot_init", "own"], "slot.init", "own"),
    (["--slot_lr", "0"], "slot.learning_rate", 0.0),
    (["--method", "finetune"], "method.name", "finetune"),
    (["--term_weights", "function_lock=3", "feature=0.5"], "method.weights", {"function_lock": 3.0, "feature": 0.5}),
    (["--replay_per_style", "8"], "replay.per_style", 8),
    (["--replay_neutral", "9"], "replay.neutral", 9),
    (["--replay_batch_size", "3"], "replay.batch_size", 3),
    (["--replay_sampling_steps", "5"], "replay.sampling_steps", 5),
    (["--replay_guidance", "2.5"], "replay.guidance", 2.5),
]


@pytest.mark.parametrize(("argv", "field", "value"), EVERY_FLAG, ids=lambda x: x if isinstance(x, str) else None)
def test_every_flag_reaches_its_field(argv: list[str], field: str, value: object) -> None:
    config = parse_command_line(["--dataset_config", "ukiyoe.toml", *argv])
    section, name = field.split(".")

    assert getattr(getattr(config, section), name) == value
