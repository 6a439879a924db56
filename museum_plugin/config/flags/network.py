"""The shared LoRA."""

from __future__ import annotations

from museum_plugin.config.convert import (
    to_bool,
    to_float,
    to_int,
    to_numbers,
    to_path,
    to_paths,
    to_positive_or_off,
)
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.network_arguments import to_network_arguments, to_network_module

FLAGS: tuple[Flag, ...] = (
    Flag("network_module", "network", to_network_module,
         "accepted for sd-scripts' sake; networks.lora is what is trained"),
    Flag("network_dim", "network.rank", to_int, "rank of the LoRA"),
    Flag("network_alpha", "network.alpha", to_float,
         "scale = alpha / rank; without it, or with 0, alpha equals network_dim"),
    Flag("network_dropout", "network.dropout", to_float,
         "share of the numbers inside a LoRA layer that are left out in training, 0 to 1"),
    Flag("network_args", "network.arguments", to_network_arguments,
         "more about the LoRA, each as name=value: conv_dim, conv_alpha, rank_dropout, module_dropout, block_dims, "
         "block_alphas, conv_block_dims, conv_block_alphas, down_lr_weight, mid_lr_weight, up_lr_weight, "
         "block_lr_zero_threshold, loraplus_lr_ratio, loraplus_unet_lr_ratio, loraplus_text_encoder_lr_ratio"),
    Flag("network_weights", "network.weights", to_path,
         "LoRA file that a new museum, or a plain LoRA, starts from", is_input=True),
    Flag("dim_from_weights", "network.dim_from_weights", to_bool,
         "ranks, alphas and modules are those of network_weights"),
    Flag("base_weights", "network.base_weights", to_paths,
         "LoRA files that are added to the base model before anything is learned", is_input=True),
    Flag("base_weights_multiplier", "network.base_weights_multiplier", to_numbers,
         "factor of each of base_weights; 1 where there is none"),
    Flag("scale_weight_norms", "network.scale_weight_norms", to_positive_or_off,
         "after every step, layers whose weight change has a larger norm are scaled down to it (1 is usual)"),
    Flag("network_train_unet_only", "network", to_bool, "leave the text encoder alone, whatever text_encoder_lr says"),
    Flag("network_train_text_encoder_only", "network", to_bool, "leave the U-Net alone; needs text_encoder_lr"),
)  # fmt: skip
