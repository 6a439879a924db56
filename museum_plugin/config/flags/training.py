"""How long, how fast, from which seed."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_count_or_off, to_int
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("max_train_steps", "training.steps", to_int, "optimizer steps for each style"),
    Flag("max_train_epochs", "training.epochs", to_count_or_off,
         "epochs for each style, in place of max_train_steps; 0 or nothing: steps are counted"),
    Flag("gradient_accumulation_steps", "training.gradient_accumulation_steps", to_int,
         "micro-steps in an optimizer step"),
    Flag("seed", "training.seed", to_int, "seed of every random number"),
    Flag("cache_latents", "training.cache_latents", to_bool,
         "encode every picture once and keep its latents in memory"),
    Flag("cache_latents_to_disk", "training.cache_latents_to_disk", to_bool,
         "keep latents in files, in output_dir/latents"),
    Flag("vae_batch_size", "training.vae_batch_size", to_int, "pictures encoded at once when caching"),
    Flag("skip_nonfinite", "training.skip_nonfinite", to_int,
         "steps in a row whose loss or gradient is not finite that are left out before the run stops"),
)  # fmt: skip
