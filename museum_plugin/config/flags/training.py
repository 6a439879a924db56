"""How long, how fast, from which seed."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_count_or_off, to_count_or_one, to_int
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
    Flag("vae_batch_size", "training.vae_batch_size", to_count_or_one, "pictures encoded at once when caching"),
    Flag("max_data_loader_n_workers", "training.reader_threads", to_int,
         "batches whose pictures are opened ahead, in threads; changes no number; 0: none"),
    Flag("persistent_data_loader_workers", "training", to_bool,
         "accepted for sd-scripts' sake; the threads that open pictures always stay"),
    Flag("skip_cache_check", "training", to_bool,
         "accepted for sd-scripts' sake; a cached latent is found by its content and always checked"),
    Flag("validate_every_n_steps", "training.validate_every_n_steps", to_count_or_off,
         "optimizer steps between validation losses, with validation_split; 0 or nothing: see validate_every_n_epochs"),
    Flag("validate_every_n_epochs", "training.validate_every_n_epochs", to_count_or_off,
         "epochs between validation losses; 0 or nothing: 1, or none if validate_every_n_steps is given"),
    Flag("max_validation_steps", "training.max_validation_steps", to_count_or_off,
         "batches of a validation loss; 0 or nothing: all"),
    Flag("fit", "training.fit", to_bool,
         "where memory runs out, go on from the last whole step with what needs less and gives the same result: "
         "cache_latents, replay_apart, gradient_checkpointing, cpu_offload_checkpointing, blocks_to_swap"),
    Flag("skip_nonfinite", "training.skip_nonfinite", to_int,
         "steps in a row whose loss or gradient is not finite that are left out before the run stops"),
)  # fmt: skip
