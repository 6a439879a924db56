"""The frozen model and what it computes in."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_count_or_auto, to_int, to_path, to_text, to_token_length
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.schema.base import DYNAMO_BACKENDS, PRECISIONS

FLAGS: tuple[Flag, ...] = (
    Flag("pretrained_model_name_or_path", "base.path", to_path,
         "base model: checkpoint file, diffusers folder or name on the hub; without it the embedded pocket model",
         is_input=True),
    Flag("v2", "base.v2", to_bool, "expect an SD2.x base; without this flag the base itself says what it is"),
    Flag("v_parameterization", "base.v_parameterization", to_bool,
         "expect a base that predicts v; needed only where a checkpoint file does not say it"),
    Flag("vae", "base.vae", to_path, "another VAE for the base's: a file, or a diffusers folder", is_input=True),
    Flag("tokenizer_cache_dir", "base.tokenizer_cache_dir", to_path,
         "folder with vocab.json and merges.txt for a checkpoint file; else CLIP's own is used", is_input=True),
    Flag("mixed_precision", "base.mixed_precision", to_text,
         "what the forward pass computes in; LoRA and slots stay float32", ("no", "fp16", "bf16")),
    Flag("gradient_checkpointing", "base.gradient_checkpointing", to_bool, "less memory, slower steps"),
    Flag("cpu_offload_checkpointing", "base.cpu_offload_checkpointing", to_bool,
         "gradient checkpointing whose kept tensors wait in host memory: less memory on the card, slower steps"),
    Flag("blocks_to_swap", "base.blocks_to_swap", to_count_or_auto,
         "so many blocks of the U-Net wait in host memory and come to the card when they are used: less memory there, "
         "slower steps; auto = as many as the card has no room for"),
    Flag("base_precision", "base.precision", to_text,
         "what the frozen U-Net's weights are stored in (docs/performance.md: what each costs); auto = as it computes",
         PRECISIONS),
    Flag("fp8_base", "base", to_bool, "the same as base_precision=fp8"),
    Flag("fp8_base_unet", "base", to_bool, "the same as base_precision=fp8"),
    Flag("opt_channels_last", "base.channels_last", to_bool,
         "keep the U-Net in the channels-last layout: often faster steps; results differ in the last digits"),
    Flag("torch_compile", "base.torch_compile", to_bool,
         "compile the blocks of the U-Net's transformers: minutes at the start, quicker steps; results differ in the "
         "last digits"),
    Flag("dynamo_backend", "base.dynamo_backend", to_text, "what torch_compile compiles with", DYNAMO_BACKENDS),
    Flag("clip_skip", "base.clip_skip", to_int,
         "text encoder layer, counted from the last: 1 = last, 2 = the one before"),
    Flag("max_token_length", "base.max_token_length", to_token_length,
         "tokens of a caption that are read, in chunks of 75: 75, 150 or 225"),
    Flag("weighted_captions", "base.weighted_captions", to_bool,
         "read (word:1.2), (word) and [word] in captions and prompts as weights"),
    Flag("no_half_vae", "base", to_bool, "accepted for sd-scripts' sake; the VAE always computes in float32"),
    Flag("xformers", "base", to_bool, "accepted for sd-scripts' sake; PyTorch's SDPA is always used"),
    Flag("sdpa", "base", to_bool, "accepted for sd-scripts' sake; PyTorch's SDPA is always used"),
)  # fmt: skip
