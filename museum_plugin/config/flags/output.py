"""Previews, logs and where results go."""

from __future__ import annotations

from museum_plugin.config.convert import to_bool, to_count_or_off, to_float, to_int, to_name, to_path, to_text
from museum_plugin.config.flags.flag import Flag
from museum_plugin.config.schema import SAMPLERS

FLAGS: tuple[Flag, ...] = (
    Flag("sample_prompts", "preview.prompts", to_path,
         "preview prompts (.txt: one a line, .toml, .json); {style} stands for the style's phrase", is_input=True),
    Flag("sample_sampler", "preview.sampler", to_text, "sampler of previews", SAMPLERS),
    Flag("sample_every_n_steps", "preview.every_n_steps", to_count_or_off,
         "optimizer steps between previews; 0 or nothing: none"),
    Flag("sample_every_n_epochs", "preview.every_n_epochs", to_count_or_off,
         "epochs between previews, in place of sample_every_n_steps; 0 or nothing: none"),
    Flag("sample_at_first", "preview.at_first", to_bool, "also draw previews before the first step"),
    Flag("sample_guidance", "preview.guidance", to_float, "classifier-free guidance scale of previews and verdicts"),
    Flag("sample_steps", "preview.sampling_steps", to_int, "denoising steps of previews and verdicts"),
    Flag("output_dir", "output.output_dir", to_path, "folder of results (default: output)"),
    Flag("output_name", "output.output_name", to_name,
         "file name of results without extension (default: the museum's own, else last)"),
    Flag("save_every_n_steps", "output.save_every_n_steps", to_count_or_off,
         "optimizer steps between checkpoints; 0 or nothing: none"),
    Flag("save_every_n_epochs", "output.save_every_n_epochs", to_count_or_off,
         "epochs between checkpoints; 0 or nothing: none"),
    Flag("save_n_epoch_ratio", "output.save_n_epoch_ratio", to_count_or_off,
         "at least this many checkpoints of epochs in a run, in place of save_every_n_epochs"),
    Flag("save_last_n_steps", "output.save_last_n_steps", to_count_or_off,
         "remove checkpoints of steps that lie further back than this many steps"),
    Flag("save_last_n_epochs", "output.save_last_n_epochs", to_count_or_off,
         "keep only the last so many checkpoints of epochs"),
    Flag("save_last_n_steps_state", "output.save_last_n_steps_state", to_count_or_off,
         "the same for states (default: as save_last_n_steps)"),
    Flag("save_last_n_epochs_state", "output.save_last_n_epochs_state", to_count_or_off,
         "the same for states (default: as save_last_n_epochs)"),
    Flag("save_state", "output.save_state", to_bool,
         "save the whole state of training beside each checkpoint and at the end, for --resume"),
    Flag("save_state_on_train_end", "output.save_state_on_train_end", to_bool,
         "save the whole state of training at the end only"),
    Flag("resume", "output.resume", to_path, "go on from a state that --save_state wrote", is_input=True),
    Flag("logging_dir", "output.logging_dir", to_path, "folder of logs; alone it means log_with=tensorboard"),
    Flag("log_with", "output.log_with", to_text,
         "which logs are written; tensorboard and all need logging_dir", ("tensorboard", "wandb", "all")),
)  # fmt: skip
