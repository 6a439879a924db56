"""The shared LoRA."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_float, to_int, to_text
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("network_module", "network", to_text, "accepted for sd-scripts' sake; networks.lora is what is trained"),
    Flag("network_dim", "network.rank", to_int, "rank of the LoRA"),
    Flag("network_alpha", "network.alpha", to_float, "scale = alpha / rank; without it alpha equals network_dim"),
    Flag("network_train_unet_only", "network", to_bool, "leave the text encoder alone, whatever text_encoder_lr says"),
    Flag("network_train_text_encoder_only", "network", to_bool, "leave the U-Net alone; needs text_encoder_lr"),
)  # fmt: skip
