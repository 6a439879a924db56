"""Previews, logs and where results go."""

from __future__ import annotations

from museum_plugin.config.convert import to_count_or_off, to_float, to_int, to_name, to_path, to_text
from museum_plugin.config.flags.flag import Flag

FLAGS: tuple[Flag, ...] = (
    Flag("sample_prompts", "preview.prompts", to_path,
         "text file, one preview prompt a line; {style} stands for the style's phrase", is_input=True),
    Flag("sample_every_n_steps", "preview.every_n_steps", to_count_or_off,
         "optimizer steps between previews; 0 or nothing: none"),
    Flag("sample_guidance", "preview.guidance", to_float, "classifier-free guidance scale of previews and verdicts"),
    Flag("sample_steps", "preview.sampling_steps", to_int, "denoising steps of previews and verdicts"),
    Flag("output_dir", "output.output_dir", to_path, "folder of results (default: output)"),
    Flag("output_name", "output.output_name", to_name,
         "file name of results without extension (default: the museum's own, else last)"),
    Flag("save_every_n_steps", "output.save_every_n_steps", to_count_or_off,
         "optimizer steps between checkpoints; 0 or nothing: none"),
    Flag("logging_dir", "output.logging_dir", to_path, "folder of logs"),
    Flag("log_with", "output.log_with", to_text,
         "which logs are written; needs logging_dir", ("tensorboard", "wandb", "all")),
)  # fmt: skip
