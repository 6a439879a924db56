"""The shared LoRA."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_float, to_int, to_text
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.network_arguments import to_network_arguments

FLAGS: tuple[Flag, ...] = (
    Flag("network_module", "network", to_text, "accepted for sd-scripts' sake; networks.lora is what is trained"),
    Flag("network_dim", "network.rank", to_int, "rank of the LoRA"),
    Flag("network_alpha", "network.alpha", to_float, "scale = alpha / rank; without it alpha equals network_dim"),
    Flag("network_dropout", "network.dropout", to_float,
         "share of the numbers inside a LoRA layer that are left out in training, 0 to 1"),
    Flag("network_args", "network.arguments", to_network_arguments,
         "more about the LoRA, each as name=value: conv_dim, conv_alpha, rank_dropout, module_dropout, block_dims, "
         "block_alphas, conv_block_dims, conv_block_alphas, down_lr_weight, mid_lr_weight, up_lr_weight, "
         "block_lr_zero_threshold, loraplus_lr_ratio, loraplus_unet_lr_ratio, loraplus_text_encoder_lr_ratio"),
    Flag("network_train_unet_only", "network", to_bool, "leave the text encoder alone, whatever text_encoder_lr says"),
    Flag("network_train_text_encoder_only", "network", to_bool, "leave the U-Net alone; needs text_encoder_lr"),
)  # fmt: skip
