"""How parameters move."""

from __future__ import annotations

from museum_plugin.config.convert import (
    to_bool,
    to_count_or_off,
    to_float,
    to_int,
    to_name,
    to_rates,
    to_share_or_count,
)
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.pairs import to_arguments
from museum_plugin.config.refusal import did_you_mean, refusal

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


def to_schedule(value: object, where: str) -> str:
    """A schedule by name; "adafactor:1e-4" is that of Adafactor with the rate it shows (sd-scripts).

    Raises:
        ConfigError: anything else.
    """
    allowed = ", ".join(SCHEDULES)
    if not isinstance(value, str):
        raise refusal(where, value, allowed)
    name, colon, rate = value.strip().lower().partition(":")
    if name not in SCHEDULES or (colon and (name != "adafactor" or not _is_rate(rate))):
        raise refusal(where, value, allowed + did_you_mean(name, SCHEDULES))
    return name + colon + rate


def _is_rate(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


FLAGS: tuple[Flag, ...] = (
    Flag("optimizer_type", "optimizer.name", to_name,
         "optimizer by sd-scripts' name, by that of a class of torch.optim, or by import path"),
    Flag("use_8bit_adam", "optimizer", to_bool, "the same as optimizer_type=AdamW8bit"),
    Flag("use_lion_optimizer", "optimizer", to_bool, "the same as optimizer_type=Lion"),
    Flag("optimizer_args", "optimizer.arguments", to_arguments, "arguments of the optimizer, each as name=value"),
    Flag("learning_rate", "optimizer.unet_learning_rate", to_float,
         "learning rate of the U-Net LoRA where unet_lr is not given"),
    Flag("unet_lr", "optimizer.unet_learning_rate", to_float,
         "learning rate of the U-Net LoRA; 0 leaves the U-Net alone"),
    Flag("text_encoder_lr", "optimizer.text_encoder_learning_rate", to_rates,
         "learning rate of the text encoder LoRA, which is trained only when this is given and greater "
         "than 0 (it does not fall back to learning_rate): a frozen text encoder protects old prompts; several "
         "numbers: one for each text encoder"),
    Flag("lr_scheduler", "optimizer.schedule", to_schedule,
         f"how the learning rate moves; one of {', '.join(SCHEDULES)}"),
    Flag("lr_scheduler_type", "optimizer.schedule_class", to_name,
         "in place of lr_scheduler: a class of torch.optim.lr_scheduler, or an import path"),
    Flag("lr_scheduler_args", "optimizer.schedule_arguments", to_arguments,
         "more arguments of the schedule, each as name=value"),
    Flag("lr_scheduler_num_cycles", "optimizer.schedule_cycles", to_int,
         "cycles of cosine_with_restarts; half cycles of cosine_with_min_lr and warmup_stable_decay"),
    Flag("lr_scheduler_power", "optimizer.schedule_power", to_float, "power of polynomial"),
    Flag("lr_scheduler_timescale", "optimizer.schedule_timescale", to_count_or_off,
         "steps that are the time unit of inverse_sqrt; default: lr_warmup_steps"),
    Flag("lr_scheduler_min_lr_ratio", "optimizer.schedule_min_ratio", to_float,
         "last learning rate over the first, of cosine_with_min_lr and warmup_stable_decay"),
    Flag("lr_warmup_steps", "optimizer.warmup_steps", to_share_or_count,
         "optimizer steps; below 1, or as 10%, a share of max_train_steps"),
    Flag("lr_decay_steps", "optimizer.decay_steps", to_share_or_count,
         "optimizer steps of the decay of warmup_stable_decay; below 1, or as 10%, a share of max_train_steps"),
    Flag("fused_backward_pass", "optimizer", to_bool, "accepted for sd-scripts' sake; nothing to gain with a LoRA"),
    Flag("max_grad_norm", "optimizer.max_grad_norm", to_float,
         "gradients are clipped to this total norm; 0 does not clip"),
)  # fmt: skip
