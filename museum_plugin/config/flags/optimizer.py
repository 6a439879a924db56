"""How parameters move."""

from __future__ import annotations

from museum_plugin.config.convert import to_arguments, to_float, to_name, to_rate, to_share_or_count, to_text
from museum_plugin.config.flags.flag import Flag

SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "warmup_stable_decay",
    "piecewise_constant",
    "adafactor",
)

FLAGS: tuple[Flag, ...] = (
    Flag("optimizer_type", "optimizer.name", to_name, "optimizer by name"),
    Flag("optimizer_args", "optimizer.arguments", to_arguments, "arguments of the optimizer, each as name=value"),
    Flag("learning_rate", "optimizer.unet_learning_rate", to_float,
         "learning rate of the U-Net LoRA where unet_lr is not given"),
    Flag("unet_lr", "optimizer.unet_learning_rate", to_float,
         "learning rate of the U-Net LoRA; 0 leaves the U-Net alone"),
    Flag("text_encoder_lr", "optimizer.text_encoder_learning_rate", to_rate,
         "learning rate of the text encoder LoRA, which is trained only when this is given and greater "
         "than 0 (it does not fall back to learning_rate): a frozen text encoder protects old prompts"),
    Flag("lr_scheduler", "optimizer.schedule", to_text, "how the learning rate moves", SCHEDULES),
    Flag("lr_warmup_steps", "optimizer.warmup_steps", to_share_or_count,
         "optimizer steps; below 1, or as 10%, a share of max_train_steps"),
    Flag("max_grad_norm", "optimizer.max_grad_norm", to_float,
         "gradients are clipped to this total norm; 0 does not clip"),
)  # fmt: skip
